using System.Buffers;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training.OrtTraining;
using OrtQLoRA.Trainer.Engines.Session;

namespace OrtQLoRA.Trainer.Engines.OrtTraining;

/// <summary>A training session with its checkpoint state: tensors in and out, the runtime's errors turned into ours.</summary>
internal sealed class OrtTrainingSession : IDisposable
{
    private readonly CheckpointState _state;
    private readonly TrainingSession _session;

    internal OrtTrainingSession(OrtArtifactFiles files, EngineOptions options)
    {
        _state = Guard("the checkpoint", () => CheckpointState.LoadCheckpoint(files.Checkpoint));
        try
        {
            using SessionOptions sessionOptions = CreateOptions(options);
            _session = Guard("the training artifacts", () => new TrainingSession(sessionOptions, _state, files.TrainingModel, files.EvalModel, files.OptimizerModel));
            TrainingInputs = _session.InputNames(training: true);
            TrainingOutputs = _session.OutputNames(training: true);
            EvalInputs = _session.InputNames(training: false);
            EvalOutputs = _session.OutputNames(training: false);
        }
        catch
        {
            _session?.Dispose();
            _state.Dispose();
            throw;
        }
    }

    /// <summary>What a training step is fed, in order.</summary>
    internal IReadOnlyList<string> TrainingInputs { get; }

    /// <summary>What a training step returns, in order.</summary>
    internal IReadOnlyList<string> TrainingOutputs { get; }

    /// <summary>What an eval step is fed, in order.</summary>
    internal IReadOnlyList<string> EvalInputs { get; }

    /// <summary>What an eval step returns, in order.</summary>
    internal IReadOnlyList<string> EvalOutputs { get; }

    internal IReadOnlyDictionary<string, DenseTensor> TrainStep(IReadOnlyDictionary<string, DenseTensor> inputs) =>
        Run("the training step", TrainingInputs, inputs, TrainingOutputs, values => _session.TrainStep(values));

    internal IReadOnlyDictionary<string, DenseTensor> EvalStep(IReadOnlyDictionary<string, DenseTensor> inputs) =>
        Run("the eval step", EvalInputs, inputs, EvalOutputs, values => _session.EvalStep(values));

    internal void OptimizerStep(float learningRate) => Guard("the optimizer step", () =>
    {
        _session.SetLearningRate(learningRate);
        _session.OptimizerStep();
        return true;
    });

    internal void LazyResetGrad() => _session.LazyResetGrad();

    internal DenseTensor GetParameter(string name)
    {
        using OrtValue value = Guard($"reading '{name}'", () => _state.GetParameter(name));
        return TensorCopy.Of(value);
    }

    internal void SetParameter(string name, DenseTensor value)
    {
        using PinnedValues pinned = new([value]);
        Guard($"setting '{name}'", () =>
        {
            _state.UpdateParameter(name, pinned.Values[0]);
            return true;
        });
    }

    internal void Save(string path) => Guard("saving the checkpoint", () =>
    {
        CheckpointState.SaveCheckpoint(_state, path, true);
        return true;
    });

    public void Dispose()
    {
        // The session works on the state's tensors.
        _session.Dispose();
        _state.Dispose();
    }

    private static SessionOptions CreateOptions(EngineOptions options)
    {
        SessionOptions session = new()
        {
            GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL,
            ExecutionMode = ExecutionMode.ORT_SEQUENTIAL,
            IntraOpNumThreads = PhysicalCores.ThreadsFor(options.IntraOpThreads),
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,
            EnableMemoryPattern = false,
        };
        session.AddSessionConfigEntry("optimization.disable_specified_optimizers", SessionFactory.HarmfulOptimizers);
        foreach ((string key, string value) in options.SessionConfig)
        {
            session.AddSessionConfigEntry(key, value);
        }

        if (options.ProfilePrefix is string prefix)
        {
            session.ProfileOutputPathPrefix = prefix;
            session.EnableProfiling = true;
        }

        options.CustomOps?.Register(session);
        return session;
    }

    private static Dictionary<string, DenseTensor> Run(
        string what,
        IReadOnlyList<string> names,
        IReadOnlyDictionary<string, DenseTensor> inputs,
        IReadOnlyList<string> outputs,
        Func<IReadOnlyCollection<OrtValue>, IDisposableReadOnlyCollection<OrtValue>> run)
    {
        string[] missing = [.. names.Where(n => !inputs.ContainsKey(n))];
        if (missing.Length > 0)
        {
            throw new EngineException(
                $"The batch lacks {string.Join(", ", missing.Select(n => $"'{n}'"))}; it must bring {string.Join(", ", names)}.", isUserError: true);
        }

        using PinnedValues pinned = new([.. names.Select(n => inputs[n])]);
        using IDisposableReadOnlyCollection<OrtValue> results = Guard(what, () => run(pinned.Values));
        return outputs.Zip(results).ToDictionary(p => p.First, p => TensorCopy.Of(p.Second), StringComparer.Ordinal);
    }

    private static T Guard<T>(string what, Func<T> call)
    {
        try
        {
            return call();
        }
        catch (OnnxRuntimeException e)
        {
            throw SessionRun.Error($"{what} of the training session", e);
        }
    }
}
