using System.Diagnostics;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;

namespace OrtQLoRA.Trainer.Evaluation;

/// <summary>Runs a model over data and sums up loss, perplexity and accuracy.</summary>
internal static class Evaluator
{
    /// <summary>Evaluates.</summary>
    /// <param name="examples">The data, taken in order.</param>
    /// <param name="options">Batch size, and how embeddings are held against each other.</param>
    /// <param name="collator">Makes the batches.</param>
    /// <param name="task">Decides loss and accuracy.</param>
    /// <param name="run">Runs a batch and returns the logits (or predictions).</param>
    /// <param name="progress">Called after each batch with the share done; null for none.</param>
    internal static EvaluationResult Run(
        IReadOnlyList<TrainingExample> examples,
        TrainingOptions options,
        DataCollator collator,
        TrainingTask task,
        Func<Batch, DenseTensor> run,
        Action<double>? progress = null)
    {
        long started = Stopwatch.GetTimestamp();
        LogitsScore total = default;
        int done = 0;
        foreach (TrainingExample[] chunk in examples.Chunk(options.Batch))
        {
            Batch batch = collator.Collate(chunk);
            done += chunk.Length;
            if (batch.CountedTargets > 0)
            {
                DenseTensor labels = batch.Inputs[task == TrainingTask.Regression ? ArtifactNames.Target : ArtifactNames.Labels];
                DenseTensor output = run(batch);
                LogitsScore score = task == TrainingTask.Embedding
                    ? ContrastiveScore.Of(output, batch.Inputs.GetValueOrDefault(ContrastiveLoss.MaskInput), labels, options)
                    : LogitsScore.Of(task, output, labels);
                total = new LogitsScore(total.LossSum + score.LossSum, total.Counted + score.Counted, total.Correct + score.Correct);
            }

            progress?.Invoke((double)done / examples.Count);
        }

        if (total.Counted == 0)
        {
            throw new TrainingDataException(examples[0].Source, "no label counts, here or in any other line; there is nothing to evaluate.");
        }

        double loss = total.LossSum / total.Counted;
        return new EvaluationResult(
            loss,
            task is TrainingTask.CausalLm or TrainingTask.SequenceToSequence ? Math.Exp(loss) : null,
            task == TrainingTask.Regression ? null : (double)total.Correct / total.Counted,
            examples.Count,
            total.Counted,
            Stopwatch.GetElapsedTime(started).TotalSeconds);
    }
}
