using System.Numerics.Tensors;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Training;

/// <summary>
/// Exponential moving average of the parameters: <c>a = d a + (1 - d) p</c> after each step, with
/// <c>d = min(decay, (1 + t) / (10 + t))</c>, so that the first values do not linger.
/// </summary>
internal sealed class ParameterAverage
{
    private readonly ITrainingEngine _engine;
    private readonly double _decay;
    private readonly Dictionary<string, float[]> _values;
    private long _updates;

    internal ParameterAverage(ITrainingEngine engine, double decay)
    {
        _engine = engine;
        _decay = decay;
        _values = engine.Parameters.ToDictionary(p => p.Name, p => engine.GetParameter(p.Name).ToFloats());
    }

    /// <summary>Takes the present parameters into account.</summary>
    internal void Update()
    {
        _updates++;
        float decay = (float)Math.Min(_decay, (1.0 + _updates) / (10.0 + _updates));
        foreach (TrainableParameter parameter in _engine.Parameters)
        {
            float[] average = _values[parameter.Name];
            float[] now = _engine.GetParameter(parameter.Name).ToFloats();
            TensorPrimitives.Lerp(now, average, decay, average);
        }
    }

    /// <summary>Runs an action with the averaged parameters in the engine; the trained ones return afterwards.</summary>
    internal void Use(Action action)
    {
        Dictionary<string, DenseTensor> trained = _engine.Parameters.ToDictionary(p => p.Name, p => _engine.GetParameter(p.Name));
        Apply();
        try
        {
            action();
        }
        finally
        {
            foreach ((string name, DenseTensor value) in trained)
            {
                _engine.SetParameter(name, value);
            }
        }
    }

    /// <summary>Replaces the engine's parameters by the averaged ones.</summary>
    internal void Apply()
    {
        foreach ((string name, DenseTensor value) in Tensors())
        {
            _engine.SetParameter(name, value);
        }
    }

    /// <summary>The averages as a state without an optimizer's.</summary>
    internal EngineState Save() => new(_updates, 0, Tensors(), new Dictionary<string, IReadOnlyDictionary<string, DenseTensor>>());

    /// <summary>Goes on from saved averages.</summary>
    internal void Load(EngineState state)
    {
        foreach (TrainableParameter parameter in _engine.Parameters)
        {
            state.Parameters[parameter.Name].ToFloats().CopyTo(_values[parameter.Name], 0);
        }

        _updates = state.CompletedSteps;
    }

    private Dictionary<string, DenseTensor> Tensors() =>
        _engine.Parameters.ToDictionary(p => p.Name, p => DenseTensor.Of(p.InitialValue.Dims, (ReadOnlySpan<float>)_values[p.Name]));
}
