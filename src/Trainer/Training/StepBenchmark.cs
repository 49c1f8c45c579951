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
    /// <param name="model">A model that takes token ids.</param>
    /// <param name="options">How to train; data and folders in it are not used.</param>
    /// <param name="length">Tokens of a row.</param>
    /// <param name="warmup">Steps before the timed ones.</param>
    /// <param name="steps">Steps to time.</param>
    /// <param name="callback">Is told the stages; null for nobody.</param>
    /// <exception cref="Graph.ConfigurationException">
    /// The options ask for what the device cannot do, or do not fit the model; it takes no token ids, or no data can be made up for the task.
    /// </exception>
    public static StepBenchmarkResult Run(OnnxModel model, TrainingOptions options, int length, int warmup, int steps, ITrainingCallback? callback = null)
    {
        if (TrainingOptionsValidator.DeviceFaults(options).ToArray() is { Length: > 0 } faults)
        {
            throw new Graph.ConfigurationException(faults);
        }

        long? usedBefore = options.Device.IsCuda ? NvidiaDevice.Find(options.Device.Index)?.UsedBytes : null;
        ModelFacts facts = ModelFacts.Read(model, options.LossOutput);
        using TrainingSetup setup = TrainingSetup.Create(model, facts, AdapterSettings.Create(options), options, callback ?? NullCallback.Instance);
        DataCollator collator = new(setup.BatchInputs, setup.Task);
        SplitMix64 random = new((ulong)options.Seed);
        long vocabulary = facts.VocabularySize ?? throw new Graph.ConfigurationException("The model does not tell its vocabulary; the benchmark needs one with an embedding of input_ids.");
        setup.Engine.LearningRate = options.LearningRate;
        setup.SetTotalSteps(warmup + steps);
        double[] seconds = new double[steps];
        double loss = 0;
        long tokens = 0;
        for (int step = -warmup; step < steps; step++)
        {
            MicroBatch batch = MicroBatch.Create(collator, [.. Enumerable.Range(0, options.Batch).Select(row => Row(random, facts, vocabulary, setup.Task, length, row))], options.ChunkTokens);
            tokens = batch.Tokens;
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
        return new StepBenchmarkResult(seconds, tokens, process.PeakWorkingSet64, setup.Engine.Parameters.Sum(p => p.ElementCount), loss)
        {
            DeviceBytes = deviceBytes,
            DevicePeakBytes = setup.Engine.DeviceMemory?.Peak,
        };
    }

    private static TrainingExample Row(SplitMix64 random, ModelFacts facts, long vocabulary, TrainingTask task, int length, int row)
    {
        SourceLine source = new("benchmark", row + 1);
        TrainingExample Tokens() => new() { Source = source, InputIds = Ids() };
        long[] Ids() => [.. Enumerable.Range(0, length).Select(_ => (long)random.Below((ulong)vocabulary))];
        return task switch
        {
            TrainingTask.CausalLm => Tokens(),
            TrainingTask.Embedding => new() { Source = source, InputIds = Ids(), Candidates = [Tokens()] },
            TrainingTask.SequenceClassification when facts.ClassCount is long classes => new() { Source = source, InputIds = Ids(), Label = (long)random.Below((ulong)classes) },
            _ => throw new Graph.ConfigurationException(
                $"The benchmark makes up no data for --task {OptionText.Name(task)} with this model; it does for causal-lm, embedding, and sequence-classification where the model tells its classes."),
        };
    }
}
