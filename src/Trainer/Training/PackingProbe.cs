using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Training;

/// <summary>
/// Tries whether a model's examples really do not see each other in one row: the loss of a few packed examples must be that of the
/// same examples in rows of their own. Whatever the graph does that <c>--packing</c> does not know shows here.
/// </summary>
internal static class PackingProbe
{
    private const int Examples = 3;
    private const int MostTokens = 48;

    /// <summary>Runs the probe; the gradients are forgotten.</summary>
    /// <param name="engine">The engine; must draw no random numbers.</param>
    /// <param name="collator">Makes its batches.</param>
    /// <param name="examples">The data, not packed.</param>
    /// <param name="tolerance">Largest difference, as a share of the loss.</param>
    /// <exception cref="ConfigurationException">The losses differ.</exception>
    internal static void Verify(ITrainingEngine engine, DataCollator collator, IReadOnlyList<TrainingExample> examples, double tolerance)
    {
        TrainingExample[] tried = [.. examples.Select(e => e.Beginning(MostTokens)).Where(e => collator.CountTargets(e) > 0).Take(Examples)];
        if (tried.Length < 2)
        {
            return;
        }

        double together = Loss(engine, collator, [TrainingExample.Pack(tried)]);
        long counted = tried.Sum(collator.CountTargets);
        double apart = tried.Sum(e => Loss(engine, collator, [e]) * collator.CountTargets(e) / counted);
        engine.LazyResetGrad();
        if (double.IsFinite(apart) && !(Math.Abs(together - apart) <= tolerance * Math.Max(1, Math.Abs(apart))))
        {
            throw new ConfigurationException(
                $"--packing does not fit this model: the loss of {tried.Length} examples is {together:G6} in one row and {apart:G6} in rows of their own, so that they see each other by a way that is not known. Train it without --packing.");
        }
    }

    // A model of a fixed number of rows gets the row so many times.
    private static double Loss(ITrainingEngine engine, DataCollator collator, TrainingExample[] rows) =>
        engine.TrainStep(collator.Collate([.. Enumerable.Repeat(rows[0], (int)(collator.FixedRows ?? 1))]).Inputs);

    /// <summary>The largest difference that rounding explains.</summary>
    internal static double ToleranceOf(TrainingOptions options) =>
        options.Precision == ComputePrecision.Fp32 && options.Compute is Graph.Rewriting.Int8Compute.Fp32 && !options.UseTf32 ? 1e-4 : 2e-2;
}
