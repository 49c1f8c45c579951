using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Copies a step's inputs to the GPU in one run: a session of one Identity for each.</summary>
internal sealed class UploadSession : IDisposable
{
    private const long OperatorSet = 18;

    private readonly InferenceSession _session;
    private readonly RunOptions _runOptions = new();

    internal UploadSession(SessionFactory factory, IReadOnlyList<Value> inputs)
    {
        OnnxGraph graph = new("upload");
        using OnnxModel model = new(graph) { Opset = OperatorSet };
        GraphBuilder builder = new(graph, OperatorSet);
        foreach (Value input in inputs)
        {
            Value copy = builder.Op("Identity", [graph.AddInput(input.Name, input.ElementType, input.Shape)]);
            copy.Name = OutputOf(input.Name);
            graph.AddOutput(copy);
        }

        _session = factory.Create(model, "upload");
    }

    /// <summary>A binding whose outputs are tensors on the device, by the names of inputs.</summary>
    internal OrtIoBinding Bind(IReadOnlyDictionary<string, DeviceTensor> tensors)
    {
        OrtIoBinding binding = _session.CreateIoBinding();
        foreach ((string name, DeviceTensor tensor) in tensors)
        {
            binding.BindOutput(OutputOf(name), tensor.Value);
        }

        return binding;
    }

    /// <summary>Copies tensors of the host to where the binding says; returns when they are there.</summary>
    internal void Run(OrtIoBinding binding, IEnumerable<(string Name, OrtValue Value)> inputs)
    {
        // Binding a tensor of the host copies it.
        foreach ((string name, OrtValue value) in inputs)
        {
            binding.BindInput(name, value);
        }

        SessionRun.Run(_session, _runOptions, binding, "upload of a batch");
    }

    public void Dispose()
    {
        _session.Dispose();
        _runOptions.Dispose();
    }

    private static string OutputOf(string input) => input + ".device";
}
