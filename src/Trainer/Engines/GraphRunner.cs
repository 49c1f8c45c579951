using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Engines.Session;

namespace OrtQLoRA.Trainer.Engines;

/// <summary>Runs a model that is held in memory, its weights lent to the session rather than copied.</summary>
public sealed class GraphRunner : IDisposable
{
    private readonly FrozenWeights _weights = new();
    private readonly InferenceSession _session;
    private readonly OrtIoBinding _binding;
    private readonly RunOptions _runOptions = new();

    /// <summary>Creates the session.</summary>
    /// <param name="model">The model; must not be disposed before the runner.</param>
    /// <param name="options">How the session runs.</param>
    /// <exception cref="EngineException">ONNX Runtime refused the model.</exception>
    public GraphRunner(OnnxModel model, EngineOptions? options = null)
    {
        _session = new SessionFactory(options ?? new EngineOptions(), _weights).Create(model, model.Graph.Name);
        _binding = _session.CreateIoBinding();
    }

    /// <summary>Names of the inputs that must be fed.</summary>
    public IReadOnlyList<string> InputNames => _session.InputNames;

    /// <summary>Names of the outputs.</summary>
    public IReadOnlyList<string> OutputNames => _session.OutputNames;

    /// <summary>Runs the model.</summary>
    /// <param name="inputs">A tensor for each input.</param>
    /// <param name="outputs">Names of the outputs to return.</param>
    /// <exception cref="EngineException">An input is missing, or the runtime failed.</exception>
    public IReadOnlyDictionary<string, DenseTensor> Run(IReadOnlyDictionary<string, DenseTensor> inputs, IReadOnlyCollection<string> outputs)
    {
        using BoundInputs bound = new(_binding, _session.InputNames, inputs);
        _binding.ClearBoundOutputs();
        foreach (string output in outputs)
        {
            _binding.BindOutputToDevice(output, OrtMemoryInfo.DefaultInstance);
        }

        SessionRun.Run(_session, _runOptions, _binding, "run of the model");
        using IDisposableReadOnlyCollection<OrtValue> values = _binding.GetOutputValues();
        Dictionary<string, DenseTensor> tensors = outputs.Zip(values).ToDictionary(p => p.First, p => TensorCopy.Of(p.Second));
        _binding.ClearBoundOutputs();
        return tensors;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _binding.Dispose();
        _session.Dispose();
        _runOptions.Dispose();
        _weights.Dispose();
    }
}
