using System.Diagnostics;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Times training steps of a model on made-up tokens.</summary>
public static class StepBenchmark
{
    /// <summary>Runs steps and times each: forward, backward, clipping and update.</summary>
    /// <param name="model">A causal language model.</param>
    /// <param name="options">How to train; data and folders in it are not used.</param>
    /// <param name="length">Tokens of a row.</param>
    /// <param name="warmup">Steps before the timed ones.</param>
    /// <param name="steps">Steps to time.</param>
    /// <param name="callback">Is told the stages; null for nobody.</param>
    /// <exception cref="Graph.ConfigurationException">The options ask for what the device cannot do, or do not fit the model.</exception>
    public static StepBenchmarkResult Run(OnnxModel model, TrainingOptions options, int length, int warmup, int steps, ITrainingCallback? callback = null)
    {
        if (TrainingOptionsValidator.DeviceFaults(options).ToArray() is { Length: > 0 } faults)
        {
            throw new Graph.ConfigurationException(faults);
        }

        long? usedBefore = options.Device.IsCuda ? NvidiaDevice.Find(options.Device.Index)?.UsedBytes : null;
        ModelFacts facts = ModelFacts.Read(model);
        using TrainingSetup setup = TrainingSetup.Create(model, facts, AdapterSettings.Create(options), options, callback ?? NullCallback.Instance);
        DataCollator collator = new(setup.BatchInputs, setup.Task);
        SplitMix64 random = new((ulong)options.Seed);
        long vocabulary = facts.VocabularySize ?? throw new Graph.ConfigurationException("The model does not tell its vocabulary; the benchmark needs a decoder with an embedding.");
        setup.Engine.LearningRate = options.LearningRate;
        setup.SetTotalSteps(warmup + steps);
        double[] seconds = new double[steps];
        double loss = 0;
        for (int step = -warmup; step < steps; step++)
        {
            MicroBatch batch = MicroBatch.Create(collator, [.. Enumerable.Range(0, options.Batch).Select(row => Row(random, vocabulary, length, row))], options.ChunkTokens);
            long started = Stopwatch.GetTimestamp();
            setup.Engine.LazyResetGrad();
            loss = batch.Train(setup.Engine, 1);
            setup.Engine.OptimizerStep();
            if (step >= 0)
            {
                seconds[step] = Stopwatch.GetElapsedTime(started).TotalSeconds;
            }
        }

        long? deviceBytes = options.Device.IsCuda ? NvidiaDevice.Find(options.Device.Index)?.UsedBytes - usedBefore : null;
        using Process process = Process.GetCurrentProcess();
        return new StepBenchmarkResult(seconds, (long)options.Batch * length, process.PeakWorkingSet64, setup.Engine.Parameters.Sum(p => p.ElementCount), loss)
        {
            DeviceBytes = deviceBytes,
            DevicePeakBytes = setup.Engine.DeviceMemory?.Peak,
        };
    }

    private static TrainingExample Row(SplitMix64 random, long vocabulary, int length, int row) => new()
    {
        Source = new SourceLine("benchmark", row + 1),
        InputIds = [.. Enumerable.Range(0, length).Select(_ => (long)random.Below((ulong)vocabulary))],
    };
}
