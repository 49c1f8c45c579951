using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Graph.Training.OrtTraining;
using OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;
using OrtQLoRA.Trainer.Engines.OrtTraining;
using OrtQLoRA.Trainer.Engines.Session;

namespace OrtQLoRA.Trainer.Engines;

/// <summary>
/// Trains with ONNX Runtime's own training API: its <see cref="TrainingSession"/> accumulates gradients and updates parameters, its
/// <see cref="CheckpointState"/> holds them. Needs a build with the package Microsoft.ML.OnnxRuntime.Training (1.19.2, CPU).
/// </summary>
/// <remarks>
/// Runs artifacts of any maker, the official generator's too. The session tells neither gradients nor their norm, so the
/// engine adds outputs to the training model that do; it works on copies of the files in a temporary folder.
/// </remarks>
public sealed class OrtTrainingEngine : ITrainingEngine
{
    private readonly OrtTrainingWorkspace _workspace = new();
    private readonly EngineOptions _options;
    private readonly IReadOnlyList<CheckpointParameter> _frozen;
    private readonly IReadOnlyList<string> _optimizerStates;
    private readonly Dictionary<string, TrainableParameter> _byName;
    private readonly bool _exposesGradients;
    private OrtTrainingSession _session;
    private IReadOnlyDictionary<string, DenseTensor> _gradients = new Dictionary<string, DenseTensor>();
    private double _norm;
    private long _passes;

    /// <summary>Creates the session for artifacts in memory.</summary>
    /// <param name="artifacts">Artifacts made with <see cref="OrtTrainingDialect"/>.</param>
    /// <param name="options">How the session runs.</param>
    /// <param name="exposeGradients">Whether <see cref="GetGradient"/> can be asked, for the price of a copy of the gradients at each step.</param>
    /// <exception cref="EngineException">ONNX Runtime has no training API, or refused a model.</exception>
    public OrtTrainingEngine(TrainingArtifacts artifacts, EngineOptions? options = null, bool exposeGradients = false)
        : this(
            artifacts.TrainingModel,
            artifacts.EvalModel,
            artifacts.OptimizerModel,
            OrtArtifactWriter.Checkpoint(artifacts),
            artifacts.Parameters,
            [.. artifacts.OptimizerStates.Select(s => s.Name)],
            options,
            exposeGradients)
    {
    }

    private OrtTrainingEngine(
        OnnxModel training,
        OnnxModel eval,
        OnnxModel optimizer,
        OrtCheckpoint checkpoint,
        IReadOnlyList<TrainableParameter> parameters,
        IReadOnlyList<string> optimizerStates,
        EngineOptions? options,
        bool exposeGradients)
    {
        Parameters = parameters;
        _options = options ?? new EngineOptions();
        _byName = parameters.ToDictionary(p => p.Name, StringComparer.Ordinal);
        _optimizerStates = optimizerStates;
        _frozen = checkpoint.Frozen;
        _exposesGradients = exposeGradients;
        CompletedSteps = checkpoint.OptimizerGroups is [var group, ..] ? group.Step : 0;
        try
        {
            TrainingRuntime.Require();
            OnnxModel instrumented = ModelCloner.Clone(training);
            InstrumentedModel.Instrument(instrumented, [.. parameters.Select(p => p.Name)], exposeGradients);
            WriteModel(instrumented, _workspace.Files.TrainingModel);
            WriteModel(ModelCloner.Clone(eval), _workspace.Files.EvalModel);
            OrtArtifactWriter.Write(optimizer, _workspace.Files.OptimizerModel);
            OrtCheckpointWriter.Write(_workspace.Files.Checkpoint, checkpoint);
            _session = new OrtTrainingSession(_workspace.Files, _options);
        }
        catch
        {
            _workspace.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<TrainableParameter> Parameters { get; }

    /// <inheritdoc/>
    public double LearningRate { get; set; } = OptimizerGroupState.DefaultLearningRate;

    /// <inheritdoc/>
    public long CompletedSteps { get; private set; }

    /// <summary>What a training step is fed, in the order of the training model; without those that the engine itself feeds.</summary>
    public IReadOnlyList<string> UserInputs => [.. _session.TrainingInputs.Where(n => n is not (ArtifactNames.LossWeight or ArtifactNames.Pass))];

    /// <summary>Opens artifacts in a folder, whoever made them.</summary>
    /// <param name="folder">Folder with training_model.onnx, eval_model.onnx, optimizer_model.onnx and checkpoint.</param>
    /// <param name="options">How the session runs.</param>
    /// <param name="checkpoint">Another checkpoint to start from; null for the folder's.</param>
    /// <param name="exposeGradients">Whether <see cref="GetGradient"/> can be asked.</param>
    /// <exception cref="ModelFormatException">A file is absent, damaged, or does not fit the others.</exception>
    /// <exception cref="EngineException">ONNX Runtime has no training API, or refused a model.</exception>
    public static OrtTrainingEngine Open(string folder, EngineOptions? options = null, string? checkpoint = null, bool exposeGradients = false)
    {
        TrainingRuntime.Require();
        OrtArtifactFiles files = new(folder);
        using OrtCheckpoint start = OrtCheckpointReader.Read(checkpoint ?? files.Checkpoint);
        if (start.IsNominal)
        {
            throw new ModelFormatException($"The checkpoint '{checkpoint ?? files.Checkpoint}' is nominal: it names parameters without values. Name one that holds them.");
        }

        using OnnxModel training = OnnxModelReader.Read(files.TrainingModel);
        using OnnxModel eval = OnnxModelReader.Read(files.EvalModel);
        using OnnxModel optimizer = OnnxModelReader.Read(files.OptimizerModel);
        bool isAdam = optimizer.Graph.AllNodes().Any(n => n.OpType == "AdamWOptimizer");
        return new OrtTrainingEngine(
            training,
            eval,
            optimizer,
            start,
            [.. start.Trainable.Select(p => new TrainableParameter { Name = p.Name, InitialValue = new DenseTensor(p.ElementType, p.Value!.Dims, p.Value.ToBytes()) })],
            isAdam ? [AdamWOptimizer.FirstMoment, AdamWOptimizer.SecondMoment] : [],
            options,
            exposeGradients);
    }

    /// <inheritdoc/>
    public double TrainStep(IReadOnlyDictionary<string, DenseTensor> inputs, double lossWeight = 1)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        if (lossWeight != 1 && !_session.TrainingInputs.Contains(ArtifactNames.LossWeight))
        {
            throw new EngineException(
                $"The micro-batch counts {lossWeight}, but the training model has no input '{ArtifactNames.LossWeight}': its gradients are added up as they are. "
                + "Give each micro-batch the weight 1, or make artifacts with that input.",
                isUserError: true);
        }

        Dictionary<string, DenseTensor> fed = new(inputs) { [ArtifactNames.LossWeight] = DenseTensor.Scalar((float)lossWeight), [ArtifactNames.Pass] = DenseTensor.Scalar(_passes) };
        IReadOnlyDictionary<string, DenseTensor> outputs = _session.TrainStep(fed);
        _passes++;
        _norm = outputs[InstrumentedModel.GradientNorm].ToFloats()[0];
        _gradients = outputs;
        return outputs[_session.TrainingOutputs[0]].ToFloats()[0];
    }

    /// <inheritdoc/>
    public EvalStepResult EvalStep(IReadOnlyDictionary<string, DenseTensor> inputs, params IReadOnlyCollection<string> outputs)
    {
        string[] unknown = [.. outputs.Except(_session.EvalOutputs)];
        if (unknown.Length > 0)
        {
            throw new EngineException(
                $"The eval model has no output {string.Join(", ", unknown.Select(o => $"'{o}'"))}; it has {string.Join(", ", _session.EvalOutputs)}.", isUserError: true);
        }

        IReadOnlyDictionary<string, DenseTensor> values = _session.EvalStep(inputs);
        return new EvalStepResult(values[_session.EvalOutputs[0]].ToFloats()[0], outputs.ToDictionary(o => o, o => values[o]));
    }

    /// <inheritdoc/>
    public double OptimizerStep()
    {
        if (!double.IsFinite(_norm))
        {
            return _norm;
        }

        _session.OptimizerStep((float)LearningRate);
        CompletedSteps++;
        return _norm;
    }

    /// <inheritdoc/>
    public void LazyResetGrad() => _session.LazyResetGrad();

    /// <inheritdoc/>
    public DenseTensor GetParameter(string name) => _session.GetParameter(Find(name).Name);

    /// <inheritdoc/>
    public void SetParameter(string name, ITensor value)
    {
        RequireFits(Find(name), name, value);
        _session.SetParameter(name, DenseTensor.Of(value.Dims, value.ToFloats()));
    }

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">The engine was created without gradients, or no step has run.</exception>
    public DenseTensor GetGradient(string name)
    {
        Find(name);
        if (!_exposesGradients)
        {
            throw new InvalidOperationException("The training session keeps gradients to itself; create the engine with exposeGradients.");
        }

        return _gradients.TryGetValue(InstrumentedModel.GradientOf(name), out DenseTensor? gradient)
            ? gradient
            : throw new InvalidOperationException("No training step has run yet, so there are no gradients.");
    }

    /// <inheritdoc/>
    public EngineState SaveState()
    {
        string path = _workspace.File("saved");
        _session.Save(path);
        using OrtCheckpoint checkpoint = OrtCheckpointReader.Read(path);
        return OrtCheckpointConverter.ToEngineState(checkpoint, _optimizerStates) with { CompletedSteps = CompletedSteps, CompletedPasses = _passes };
    }

    /// <inheritdoc/>
    public void LoadState(EngineState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        foreach (TrainableParameter parameter in Parameters)
        {
            RequireFits(parameter, parameter.Name, Find(state.Parameters, parameter.Name, "parameters"));
            foreach (string name in _optimizerStates)
            {
                IReadOnlyDictionary<string, DenseTensor> values = state.OptimizerStates.TryGetValue(name, out IReadOnlyDictionary<string, DenseTensor>? found)
                    ? found
                    : throw new ModelFormatException(
                        $"The saved state has no optimizer state '{name}' (it has {string.Join(", ", state.OptimizerStates.Keys)}); it was saved by another optimizer.");
                RequireFits(parameter, $"{parameter.Name}.{name}", Find(values, parameter.Name, name));
            }
        }

        // A session takes moments only when it is created.
        EngineState kept = new(
            state.CompletedSteps,
            state.CompletedPasses,
            Parameters.ToDictionary(p => p.Name, p => state.Parameters[p.Name]),
            _optimizerStates.ToDictionary(s => s, s => state.OptimizerStates[s]));
        using (OrtCheckpoint checkpoint = OrtCheckpointConverter.ToCheckpoint(kept, _frozen, (float)LearningRate))
        {
            OrtCheckpointWriter.Write(_workspace.Files.Checkpoint, checkpoint);
        }

        _session.Dispose();
        _session = new OrtTrainingSession(_workspace.Files, _options);
        CompletedSteps = state.CompletedSteps;
        _passes = state.CompletedPasses;
        LazyResetGrad();
    }

    /// <summary>Saves a checkpoint of ONNX Runtime's: parameters, moments and number of steps.</summary>
    /// <param name="path">The file to create or replace.</param>
    /// <param name="includeOptimizerState">Whether the moments are saved, so that training can go on.</param>
    /// <exception cref="FileWriteException">The file cannot be written.</exception>
    public void SaveCheckpoint(string path, bool includeOptimizerState = true)
    {
        using OrtCheckpoint whole = OrtCheckpointConverter.ToCheckpoint(SaveState(), _frozen, (float)LearningRate);
        using OrtCheckpoint checkpoint = new() { Trainable = whole.Trainable, Frozen = whole.Frozen, OptimizerGroups = includeOptimizerState ? whole.OptimizerGroups : [], Properties = whole.Properties };
        OrtCheckpointWriter.Write(path, checkpoint);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _session.Dispose();
        _workspace.Dispose();
    }

    /// <summary>Writes a model so that frozen weights are dequantized where they are used, and memory is freed early.</summary>
    private static void WriteModel(OnnxModel model, string path)
    {
        WeightRematerialization.Run(model.Graph);
        ExecutionOrder.Reverse(model.Graph);
        OrtArtifactWriter.Write(model, path);
    }

    private static DenseTensor Find(IReadOnlyDictionary<string, DenseTensor> values, string parameter, string kind) =>
        values.TryGetValue(parameter, out DenseTensor? value)
            ? value
            : throw new ModelFormatException($"The saved state lacks '{parameter}' among its {kind}; it belongs to another adapter or model.");

    private static void RequireFits(TrainableParameter parameter, string what, ITensor value)
    {
        if (!value.ElementType.IsFloatingPoint() || !value.Dims.AsSpan().SequenceEqual(parameter.InitialValue.Dims.AsSpan()))
        {
            throw new ModelFormatException(
                $"'{what}' is {value.ElementType.OnnxName()}[{string.Join(", ", value.Dims)}]; the engine needs float[{string.Join(", ", parameter.InitialValue.Dims)}].");
        }
    }

    private TrainableParameter Find(string name) => _byName.TryGetValue(name, out TrainableParameter? parameter)
        ? parameter
        : throw new ArgumentException($"No parameter is named '{name}'.", nameof(name));
}
