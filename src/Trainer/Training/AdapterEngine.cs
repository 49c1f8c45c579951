using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Training;

/// <summary>
/// An engine with an adapter method's own work between the steps (AdaLoRA's allocation of ranks, constrained OFT's projection):
/// loop and checkpoints see one engine, whose state holds the method's.
/// </summary>
internal sealed class AdapterEngine : ITrainingEngine, IAdapterParameters
{
    // As in clipping: PyTorch adds it to the norm.
    private const double ClipEpsilon = 1e-6;

    private readonly ITrainingEngine _engine;
    private readonly IAdapterTrainingHook _hook;
    private readonly double _maxGradNorm;
    private bool _isNewStep = true;
    private double _clipping = 1;

    /// <summary>Wraps an engine.</summary>
    /// <param name="engine">The engine; disposed with this one.</param>
    /// <param name="hook">The method's work.</param>
    /// <param name="maxGradNorm">Norm to which the optimizer clips; 0 for none.</param>
    internal AdapterEngine(ITrainingEngine engine, IAdapterTrainingHook hook, double maxGradNorm)
    {
        _engine = engine;
        _hook = hook;
        _maxGradNorm = maxGradNorm;
    }

    /// <summary>Steps of the whole run.</summary>
    internal long TotalSteps { get; set; }

    /// <inheritdoc/>
    public IReadOnlyList<TrainableParameter> Parameters => _engine.Parameters;

    /// <inheritdoc/>
    public double LearningRate
    {
        get => _engine.LearningRate;
        set => _engine.LearningRate = value;
    }

    /// <inheritdoc/>
    public long CompletedSteps => _engine.CompletedSteps;

    /// <inheritdoc/>
    public DeviceMemoryUsage? DeviceMemory => _engine.DeviceMemory;

    /// <inheritdoc/>
    public double TrainStep(IReadOnlyDictionary<string, DenseTensor> inputs, double lossWeight = 1)
    {
        if (_isNewStep)
        {
            _hook.BeforeStep(this);
            _isNewStep = false;
        }

        return _engine.TrainStep(inputs, lossWeight);
    }

    /// <inheritdoc/>
    public EvalStepResult EvalStep(IReadOnlyDictionary<string, DenseTensor> inputs, params IReadOnlyCollection<string> outputs) => _engine.EvalStep(inputs, outputs);

    /// <inheritdoc/>
    public double OptimizerStep()
    {
        double norm = _engine.OptimizerStep();
        if (double.IsFinite(norm))
        {
            _clipping = _maxGradNorm > 0 ? Math.Min(1, _maxGradNorm / (norm + ClipEpsilon)) : 1;
            _hook.AfterStep(CompletedSteps, TotalSteps, this);
        }

        return norm;
    }

    /// <inheritdoc/>
    public bool ReduceLossScale() => _engine.ReduceLossScale();

    /// <inheritdoc/>
    public void LazyResetGrad()
    {
        _isNewStep = true;
        _engine.LazyResetGrad();
    }

    /// <inheritdoc/>
    public DenseTensor GetParameter(string name) => _engine.GetParameter(name);

    /// <inheritdoc/>
    public void SetParameter(string name, ITensor value) => _engine.SetParameter(name, value);

    /// <inheritdoc/>
    public DenseTensor GetGradient(string name) => _engine.GetGradient(name);

    /// <inheritdoc/>
    public EngineState SaveState() => _engine.SaveState() with { AdapterState = _hook.SaveState() };

    /// <inheritdoc/>
    public void LoadState(EngineState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        _hook.LoadState(state.AdapterState);
        _engine.LoadState(state);
    }

    /// <inheritdoc/>
    public void Dispose() => _engine.Dispose();

    DenseTensor IAdapterParameters.Value(string name) => _engine.GetParameter(name);

    DenseTensor IAdapterParameters.Gradient(string name)
    {
        DenseTensor gradient = _engine.GetGradient(name);
        return _clipping == 1 ? gradient : DenseTensor.Of(gradient.Dims, Array.ConvertAll(gradient.ToFloats(), g => (float)(g * _clipping)));
    }

    void IAdapterParameters.SetValue(string name, ITensor value) => _engine.SetParameter(name, value);
}
