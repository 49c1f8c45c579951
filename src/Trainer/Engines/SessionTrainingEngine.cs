using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Engines.Session;

namespace OrtQLoRA.Trainer.Engines;

/// <summary>
/// Trains on plain inference sessions. Parameters, accumulated gradients and optimizer states lie in memory of the engine,
/// on the device that it runs on; sessions read and write them in place through IoBinding, so that a step copies none of
/// them. On the processor training and eval session share the frozen weights.
/// </summary>
public sealed class SessionTrainingEngine : ITrainingEngine
{
    private readonly TrainingArtifacts _artifacts;
    private readonly ArenaLayout _layout;
    private readonly FrozenWeights _weights = new();
    private readonly SessionFactory _factory;
    private readonly IArenaAllocator _allocator;
    private readonly Dictionary<string, GroupArenas> _groups = new(StringComparer.Ordinal);
    private readonly Dictionary<string, GroupArenas> _groupOfParameter = new(StringComparer.Ordinal);
    private readonly List<IDisposable> _owned = [];
    private readonly List<OrtAllocator> _deviceMemories = [];
    private readonly RunOptions _runOptions = new();
    private readonly float[] _lossWeight = [1];
    private readonly float[] _lossScale = [1];
    private readonly LossScaler? _lossScaler;
    private readonly IReadOnlyList<(string Name, OrtValue Value)> _scalarInputs;
    private readonly float[] _loss = new float[1];
    private readonly long[] _pass = new long[1];
    private readonly InferenceSession _trainingSession;
    private readonly OrtIoBinding _trainingBinding;
    private readonly OptimizerSession _optimizer;
    private readonly StepGraphs? _graphs;
    private EvalSession? _eval;
    private bool _gradientsStale;

    /// <summary>Creates the sessions.</summary>
    /// <param name="artifacts">What to run; must outlive the engine, which does not own it.</param>
    /// <param name="options">How sessions run.</param>
    /// <exception cref="EngineException">ONNX Runtime refused a model.</exception>
    public SessionTrainingEngine(TrainingArtifacts artifacts, EngineOptions? options = null)
    {
        _artifacts = artifacts;
        _layout = ArenaLayout.Create(artifacts.Parameters, artifacts.Groups, artifacts.OptimizerStates);
        EngineOptions settings = options ?? new EngineOptions();
        _factory = new SessionFactory(settings, _weights);
        try
        {
            _allocator = Own(settings.Device.IsCuda ? new CudaAllocator(_factory, settings.Device) : (IArenaAllocator)new HostAllocator());
            foreach (ArenaGroup group in _layout.Groups)
            {
                GroupArenas arenas = Own(new GroupArenas(group, artifacts.OptimizerStates, _allocator));
                _groups[group.Group.Name] = arenas;
                foreach (ArenaSlot slot in group.Slots)
                {
                    _groupOfParameter[slot.Parameter.Name] = arenas;
                    arenas.Parameters.Write(slot.Parameter.Name, slot.Parameter.InitialValue);
                }
            }

            HashSet<string> inputs = [.. artifacts.TrainingModel.Graph.Inputs.Select(i => i.Name)];
            _lossScaler = inputs.Contains(ArtifactNames.LossScale) ? new LossScaler() : null;
            (string Name, OrtValue Value)[] scalars =
            [
                (ArtifactNames.LossWeight, Scalar(_lossWeight)), (ArtifactNames.LossScale, Scalar(_lossScale)), (ArtifactNames.Pass, Scalar(_pass)),
            ];
            _scalarInputs = [.. scalars.Where(s => inputs.Contains(s.Name))];
            _trainingSession = Own(_factory.Create(artifacts.TrainingModel, "training", isTraining: true));
            _trainingBinding = Own(_trainingSession.CreateIoBinding());
            _trainingBinding.BindOutput(ArtifactNames.Loss, Scalar(_loss));
            BindState(_trainingBinding);
            if (_factory.RecordsGraphs)
            {
                _runOptions.AddRunConfigEntry(StepGraphs.GraphNumber, "-1");
                _graphs = Own(new StepGraphs(_trainingSession, _factory, (CudaAllocator)_allocator, artifacts, _scalarInputs.Select(s => s.Name), BindState));
            }

            InferenceSession optimizer = _factory.Create(artifacts.OptimizerModel, "optimizer");
            _optimizer = Own(new OptimizerSession(optimizer, _groups.Values));
            if (_allocator is CudaAllocator device)
            {
                // Each session has an arena of its own.
                _deviceMemories.Add(device.Memory);
                _deviceMemories.Add(Own(new OrtAllocator(_trainingSession, device.Info)));
                _deviceMemories.Add(Own(new OrtAllocator(optimizer, device.Info)));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<TrainableParameter> Parameters => _artifacts.Parameters;

    /// <inheritdoc/>
    public double LearningRate { get; set; }

    /// <inheritdoc/>
    public long CompletedSteps { get; private set; }

    /// <inheritdoc/>
    public DeviceMemoryUsage? DeviceMemory
    {
        get
        {
            DeviceMemoryUsage?[] parts = [.. _deviceMemories.Select(OrtNativeApi.StatisticsOf)];
            return parts.Length == 0 || parts.Contains(null) ? null : new DeviceMemoryUsage(parts.Sum(p => p!.Value.Peak), parts.Sum(p => p!.Value.Reserved));
        }
    }

    /// <inheritdoc/>
    public double TrainStep(IReadOnlyDictionary<string, DenseTensor> inputs, double lossWeight = 1)
    {
        if (_gradientsStale)
        {
            foreach (GroupArenas group in _groups.Values)
            {
                group.Gradients.Clear();
            }

            _gradientsStale = false;
        }

        _lossWeight[0] = (float)lossWeight;
        _lossScale[0] = (float)(_lossScaler?.Scale ?? 1);

        if (_graphs?.TryRun(inputs, _scalarInputs) is double loss)
        {
            _pass[0]++;
            return loss;
        }

        // Binding copies to a GPU, so each step binds anew.
        foreach ((string name, OrtValue scalar) in _scalarInputs)
        {
            _trainingBinding.BindInput(name, scalar);
        }

        using BoundInputs bound = new(_trainingBinding, _artifacts.UserInputs, inputs);
        SessionRun.Run(_trainingSession, _runOptions, _trainingBinding, "training step");
        _pass[0]++;
        return _loss[0];
    }

    /// <inheritdoc/>
    public EvalStepResult EvalStep(IReadOnlyDictionary<string, DenseTensor> inputs, params IReadOnlyCollection<string> outputs)
    {
        _eval ??= Own(new EvalSession(_factory.Create(_artifacts.EvalModel, "eval"), _artifacts, p => _groupOfParameter[p].Parameters[p]));
        return _eval.Run(inputs, outputs);
    }

    /// <inheritdoc/>
    public double OptimizerStep()
    {
        double norm = Math.Sqrt(_groups.Values.Sum(g => g.Gradients.SumOfSquares()));
        if (!double.IsFinite(norm))
        {
            return norm;
        }

        _lossScaler?.Succeed();
        norm = _optimizer.Run(LearningRate, CompletedSteps + 1);
        CompletedSteps++;
        return norm;
    }

    /// <inheritdoc/>
    public bool ReduceLossScale() => _lossScaler?.Reduce() == true;

    /// <inheritdoc/>
    public void LazyResetGrad() => _gradientsStale = true;

    /// <inheritdoc/>
    public DenseTensor GetParameter(string name) => GroupOf(name).Parameters.Read(name);

    /// <inheritdoc/>
    public void SetParameter(string name, ITensor value)
    {
        RequireFits(name, name, value);
        GroupOf(name).Parameters.Write(name, value);
    }

    /// <inheritdoc/>
    public DenseTensor GetGradient(string name) => GroupOf(name).Gradients.Read(name);

    /// <inheritdoc/>
    public EngineState SaveState() => new(
        CompletedSteps,
        _pass[0],
        Parameters.ToDictionary(p => p.Name, p => GetParameter(p.Name)),
        _artifacts.OptimizerStates.ToDictionary(
            s => s.Name,
            s => (IReadOnlyDictionary<string, DenseTensor>)Parameters.ToDictionary(p => p.Name, p => GroupOf(p.Name).States[s.Name].Read(p.Name))))
    {
        LossScale = _lossScaler is null ? null : (_lossScaler.Scale, _lossScaler.GoodSteps),
    };

    /// <inheritdoc/>
    public void LoadState(EngineState state)
    {
        // Everything is checked before anything is changed.
        foreach (TrainableParameter parameter in Parameters)
        {
            RequireFits(parameter.Name, parameter.Name, Find(state.Parameters, parameter.Name, "parameters"));
            foreach (OptimizerState kept in _artifacts.OptimizerStates)
            {
                RequireFits(parameter.Name, $"{parameter.Name}.{kept.Name}", Find(StateOf(state, kept.Name), parameter.Name, kept.Name), kept);
            }
        }

        foreach (TrainableParameter parameter in Parameters)
        {
            GroupArenas group = GroupOf(parameter.Name);
            group.Parameters.Write(parameter.Name, state.Parameters[parameter.Name]);
            foreach (string name in _artifacts.OptimizerStates.Select(s => s.Name))
            {
                group.States[name].Write(parameter.Name, state.OptimizerStates[name][parameter.Name]);
            }
        }

        if (state.LossScale is { } scale)
        {
            _lossScaler?.Restore(scale.Value, scale.GoodSteps);
        }

        CompletedSteps = state.CompletedSteps;
        _pass[0] = state.CompletedPasses;
        LazyResetGrad();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // Sessions borrow the memory of arenas and weights, so they go first.
        for (int i = _owned.Count - 1; i >= 0; i--)
        {
            _owned[i].Dispose();
        }

        _owned.Clear();
        _runOptions.Dispose();
        _weights.Dispose();
    }

    private static IReadOnlyDictionary<string, DenseTensor> StateOf(EngineState state, string name) =>
        state.OptimizerStates.TryGetValue(name, out IReadOnlyDictionary<string, DenseTensor>? values)
            ? values
            : throw new ModelFormatException(
                $"The saved state has no optimizer state '{name}' (it has {string.Join(", ", state.OptimizerStates.Keys)}); it was saved by another optimizer.");

    private static DenseTensor Find(IReadOnlyDictionary<string, DenseTensor> values, string parameter, string kind) =>
        values.TryGetValue(parameter, out DenseTensor? value)
            ? value
            : throw new ModelFormatException($"The saved state lacks '{parameter}' among its {kind}; it belongs to another adapter or model.");

    private T Own<T>(T resource)
        where T : IDisposable
    {
        _owned.Add(resource);
        return resource;
    }

    private GroupArenas GroupOf(string parameter) => _groupOfParameter.TryGetValue(parameter, out GroupArenas? group)
        ? group
        : throw new ArgumentException($"No parameter is named '{parameter}'.", nameof(parameter));

    private void RequireFits(string parameter, string what, ITensor value, OptimizerState? state = null)
    {
        IReadOnlyList<long> dims = GroupOf(parameter).ShapeOf(parameter);
        IReadOnlyList<long> expected = state?.DimsFor(dims) ?? dims;
        DataType type = state?.Type ?? DataType.Float;
        bool fits = type.IsFloatingPoint() ? value.ElementType.IsFloatingPoint() : value.ElementType == type;
        if (!fits || !value.Dims.SequenceEqual(expected))
        {
            throw new ModelFormatException(
                $"'{what}' is {value.ElementType.OnnxName()}[{string.Join(", ", value.Dims)}]; the engine needs {type.OnnxName()}[{string.Join(", ", expected)}].");
        }
    }

    private void BindState(OrtIoBinding binding)
    {
        foreach (TrainableParameter parameter in Parameters)
        {
            GroupArenas group = _groupOfParameter[parameter.Name];
            OrtValue gradient = group.Gradients[parameter.Name];
            binding.BindInput(parameter.Name, group.Parameters[parameter.Name]);
            binding.BindInput(ArtifactNames.AccumulationBuffer(parameter.Name), gradient);
            binding.BindOutput(ArtifactNames.AccumulationOutput(parameter.Name), gradient);
        }
    }

    private OrtValue Scalar<T>(T[] memory)
        where T : unmanaged =>
        Own(OrtValue.CreateTensorValueFromMemory(OrtMemoryInfo.DefaultInstance, memory.AsMemory(), []));
}
