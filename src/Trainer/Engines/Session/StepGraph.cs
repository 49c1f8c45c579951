using Microsoft.ML.OnnxRuntime;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>The training step for batches of one shape as a CUDA graph, with the device memory that it reads and writes.</summary>
internal sealed class StepGraph : IDisposable
{
    private readonly OrtIoBinding _upload;
    private readonly OrtIoBinding _step;
    private readonly RunOptions _runOptions = new();
    private readonly RunOptions _plainOptions = new();
    private readonly IReadOnlyCollection<DeviceTensor> _tensors;

    /// <summary>Puts a step's bindings together.</summary>
    /// <param name="number">Number of the graph among those of its session.</param>
    /// <param name="upload">Copies inputs to <paramref name="tensors"/>.</param>
    /// <param name="step">Runs the step on <paramref name="tensors"/>.</param>
    /// <param name="tensors">Everything that lies at a fixed address for this step; owned.</param>
    /// <param name="loss">The one of them that the loss is written to.</param>
    internal StepGraph(int number, OrtIoBinding upload, OrtIoBinding step, IReadOnlyCollection<DeviceTensor> tensors, DeviceTensor loss)
    {
        _upload = upload;
        _step = step;
        _tensors = tensors;
        Loss = loss.Value;
        _runOptions.AddRunConfigEntry(StepGraphs.GraphNumber, number.ToString(System.Globalization.CultureInfo.InvariantCulture));
        _plainOptions.AddRunConfigEntry(StepGraphs.GraphNumber, "-1");
    }

    /// <summary>The loss, float [1] on the device.</summary>
    internal OrtValue Loss { get; }

    internal void Upload(UploadSession session, IEnumerable<(string Name, OrtValue Value)> inputs) => session.Run(_upload, inputs);

    /// <summary>Runs the step; the first time ONNX Runtime runs it several times and records it.</summary>
    internal void Run(InferenceSession session) => SessionRun.Run(session, _runOptions, _step, "training step");

    /// <summary>Runs the step without a graph.</summary>
    internal void RunPlain(InferenceSession session) => SessionRun.Run(session, _plainOptions, _step, "training step");

    public void Dispose()
    {
        _step.Dispose();
        _upload.Dispose();
        _runOptions.Dispose();
        _plainOptions.Dispose();
        foreach (DeviceTensor tensor in _tensors)
        {
            tensor.Dispose();
        }
    }
}
