using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Training;

/// <summary>
/// A micro-batch, cut into parts of whole rows that pass the graph one after the other. Each part counts by its share of the
/// targets, so that loss and gradients are those of the whole, while activations take the memory of one part and stay
/// nearer to the processor's caches.
/// </summary>
internal sealed class MicroBatch
{
    private MicroBatch(IReadOnlyList<Batch> parts)
    {
        Parts = parts;
        CountedTargets = parts.Sum(p => p.CountedTargets);
        Tokens = parts.Sum(p => p.Tokens);
    }

    /// <summary>The parts; several only if neither model nor loss needs the batch whole.</summary>
    internal IReadOnlyList<Batch> Parts { get; }

    /// <summary>Over how many terms the loss is a mean.</summary>
    internal long CountedTargets { get; }

    /// <summary>Tokens attended to, padding not counted.</summary>
    internal long Tokens { get; }

    /// <summary>Collates examples into parts of at most <paramref name="maxTokens"/> tokens, padding included, and at least a row.</summary>
    internal static MicroBatch Create(DataCollator collator, IReadOnlyList<TrainingExample> examples, int maxTokens)
    {
        int longest = examples.Max(e => e.InputIds.Length);
        int rows = longest == 0 || collator.KeepsBatchWhole ? examples.Count : Math.Max(1, maxTokens / longest);
        return new MicroBatch([.. examples.Chunk(rows).Select(collator.Collate)]);
    }

    /// <summary>Adds the micro-batch's gradients, times <paramref name="weight"/>, to the accumulated ones.</summary>
    /// <returns>The micro-batch's mean loss, not weighted; not finite as soon as that of a part is not.</returns>
    internal double Train(ITrainingEngine engine, double weight)
    {
        double loss = 0;
        foreach (Batch part in Parts.Where(p => p.CountedTargets > 0))
        {
            double share = (double)part.CountedTargets / CountedTargets;
            double partLoss = engine.TrainStep(part.Inputs, weight * share);
            if (!double.IsFinite(partLoss))
            {
                return partLoss;
            }

            loss += share * partLoss;
        }

        return loss;
    }

    /// <summary>The lines it comes from, for messages.</summary>
    internal string Describe() => string.Join(", ", Parts.Select(p => p.Describe()));
}
