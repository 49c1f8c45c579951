using System.Diagnostics;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Finds out what a run will take: memory from the graph's shapes, time from a few steps that change nothing.</summary>
internal sealed class TrainingEstimator
{
    private const int TimedBatches = 3;

    private readonly TrainingSetup _setup;
    private readonly TrainingOptions _options;
    private readonly DataCollator _collator;

    internal TrainingEstimator(TrainingSetup setup, TrainingOptions options, DataCollator collator)
    {
        _setup = setup;
        _options = options;
        _collator = collator;
    }

    /// <summary>Estimates.</summary>
    /// <param name="examples">The training data.</param>
    /// <param name="totalSteps">Steps of the run.</param>
    internal TrainingEstimate Run(IReadOnlyList<TrainingExample> examples, long totalSteps)
    {
        TrainingExample[] longest = [.. examples.OrderByDescending(e => e.InputIds.Length).Take(_options.Batch)];
        MicroBatch largest = MicroBatch.Create(_collator, longest, _options.ChunkTokens);
        TrainingEstimate estimate = Memory(examples, largest.Parts[0], totalSteps);
        return estimate.Fits ? Measure(estimate, largest, examples) : estimate;
    }

    /// <summary>The estimate without anything run.</summary>
    internal TrainingEstimate Memory(IReadOnlyList<TrainingExample> examples, Batch part, long totalSteps)
    {
        TrainingArtifacts artifacts = _setup.Artifacts;
        Dictionary<string, Shape> shapes = part.Inputs.ToDictionary(i => i.Key, i => Shape.Of(i.Value.Dims));
        ITensor[] frozen = [.. artifacts.TrainingModel.Graph.Initializers.Select(i => i.Initializer!).Distinct()];
        long floats = frozen.Where(t => t.Dims.Length >= 2 && t.ElementType.IsFloatingPoint()).Sum(t => t.ByteLength);
        long trained = _setup.Engine.Parameters.Sum(p => p.ElementCount);
        double tokens = examples.Average(e => (double)e.TokenCount) * _options.Batch * _options.GradientAccumulation;
        return new TrainingEstimate(
            frozen.Sum(t => t.ByteLength),
            _options.PrepackWeights ? floats : 0,
            (trained * sizeof(float) * 2) + artifacts.OptimizerStates.Sum(s => s.ByteCount(trained)),
            ActivationMemory.Peak(artifacts.TrainingModel, shapes).Bytes,
            part.Inputs.TryGetValue("input_ids", out DenseTensor? ids) ? ids.ElementCount() : part.Examples.Count,
            GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
            null,
            totalSteps,
            null,
            tokens,
            trained);
    }

    /// <summary>Runs the largest micro-batch once and a few ordinary ones by the clock. Their gradients are forgotten.</summary>
    private TrainingEstimate Measure(TrainingEstimate estimate, MicroBatch largest, IReadOnlyList<TrainingExample> examples)
    {
        largest.Train(_setup.Engine, 1);
        MicroBatch[] batches =
        [
            .. examples.Chunk(_options.Batch).Select(c => MicroBatch.Create(_collator, c, _options.ChunkTokens)).Where(b => b.CountedTargets > 0).Take(TimedBatches),
        ];
        long started = Stopwatch.GetTimestamp();
        foreach (MicroBatch batch in batches)
        {
            batch.Train(_setup.Engine, 1);
        }

        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        _setup.Engine.LazyResetGrad();
        double tokens = Math.Max(1, batches.Sum(b => b.Tokens));
        double share = _setup.Facts.NeedsTokens ? estimate.TokensPerStep / tokens : (double)_options.GradientAccumulation / Math.Max(1, batches.Length);
        using Process process = Process.GetCurrentProcess();
        return estimate with { SecondsPerStep = seconds * share, PeakBytes = process.PeakWorkingSet64 };
    }
}
