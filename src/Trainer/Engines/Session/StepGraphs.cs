using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>
/// Records training steps as CUDA graphs, one for each shape of batch, and replays them: a step's kernels then start without the
/// host. A shape is recorded when it comes for the second time; the first time, kernels prepare what they keep.
/// </summary>
/// <remarks>
/// ONNX Runtime records at the third run under a graph's number, and makes these runs by itself within one call. As each adds to
/// the accumulated gradients, they run with the loss weighing nothing.
/// </remarks>
internal sealed class StepGraphs : IDisposable
{
    /// <summary>Entry of a run's options: under which number to record or replay; -1 runs without a graph.</summary>
    internal const string GraphNumber = "gpu_graph_id";

    /// <summary>Shapes beyond this many run without graphs.</summary>
    private const int MostGraphs = 16;

    /// <summary>Runs after which the session's arena is taken to have settled even if it still grows.</summary>
    private const int MostSettlingRuns = 8;

    private readonly InferenceSession _session;
    private readonly CudaAllocator _device;
    private readonly OrtAllocator _arena;
    private readonly Action<OrtIoBinding> _bindState;
    private readonly IReadOnlyList<string> _userInputs;
    private readonly IReadOnlyList<Value> _fed;
    private readonly UploadSession _upload;
    private readonly Dictionary<string, StepGraph?> _graphs = new(StringComparer.Ordinal);
    private readonly float[] _nothing = [0];
    private readonly float[] _loss = new float[1];
    private readonly OrtValue _zeroWeight;
    private readonly OrtValue _lossOnHost;
    private int _count;

    /// <summary>Prepares recording.</summary>
    /// <param name="session">The training session, created for CUDA graphs.</param>
    /// <param name="factory">Creates the session that copies inputs.</param>
    /// <param name="device">The device's memory.</param>
    /// <param name="artifacts">What the session runs.</param>
    /// <param name="scalars">Names of the inputs that the engine sets at each step.</param>
    /// <param name="bindState">Binds parameters and accumulators.</param>
    internal StepGraphs(
        InferenceSession session, SessionFactory factory, CudaAllocator device, TrainingArtifacts artifacts, IEnumerable<string> scalars, Action<OrtIoBinding> bindState)
    {
        _session = session;
        _device = device;
        _arena = new OrtAllocator(session, device.Info);
        _bindState = bindState;
        _userInputs = artifacts.UserInputs;
        _fed = [.. artifacts.UserInputs.Concat(scalars).Select(artifacts.TrainingModel.Graph.GetValue)];
        _upload = new UploadSession(factory, _fed);
        _zeroWeight = OrtValue.CreateTensorValueFromMemory(OrtMemoryInfo.DefaultInstance, _nothing.AsMemory(), []);
        _lossOnHost = OrtValue.CreateTensorValueFromMemory(OrtMemoryInfo.DefaultInstance, _loss.AsMemory(), [1]);
    }

    /// <summary>Runs a step as a graph, if batches of its shape are recorded.</summary>
    /// <param name="inputs">A tensor for each of the artifacts' user inputs.</param>
    /// <param name="scalars">Values of the inputs that the engine sets.</param>
    /// <returns>The loss, or null if the step has to run without a graph.</returns>
    internal double? TryRun(IReadOnlyDictionary<string, DenseTensor> inputs, IReadOnlyList<(string Name, OrtValue Value)> scalars)
    {
        if (_userInputs.Any(n => !inputs.ContainsKey(n)))
        {
            return null;
        }

        string shape = string.Join(';', _userInputs.Select(n => string.Join('x', inputs[n].Dims)));
        if (!_graphs.TryGetValue(shape, out StepGraph? graph))
        {
            _graphs[shape] = null;
            return null;
        }

        if (graph is null && _count >= MostGraphs)
        {
            return null;
        }

        using PinnedValues pinned = new(_userInputs.Select(n => inputs[n]));
        (string Name, OrtValue Value)[] all = [.. _userInputs.Zip(pinned.Values), .. scalars];
        if (graph is null)
        {
            _graphs[shape] = graph = Create(inputs);
            graph.Upload(_upload, all.Select(i => i.Name == ArtifactNames.LossWeight ? (i.Name, _zeroWeight) : i));
            Settle(graph);
            graph.Run(_session);
        }

        graph.Upload(_upload, all);
        graph.Run(_session);
        _device.Copy.Run(graph.Loss, _lossOnHost);
        return _loss[0];
    }

    public void Dispose()
    {
        foreach (StepGraph? graph in _graphs.Values)
        {
            graph?.Dispose();
        }

        _upload.Dispose();
        _arena.Dispose();
        _zeroWeight.Dispose();
        _lossOnHost.Dispose();
    }

    /// <summary>
    /// Runs a step until it takes no more memory from the GPU, which is forbidden while a graph is recorded. A run that leaves the
    /// arena as it was is repeated by every later one.
    /// </summary>
    private void Settle(StepGraph graph)
    {
        for (int run = 0; run < MostSettlingRuns; run++)
        {
            long? before = OrtNativeApi.StatisticsOf(_arena)?.Reserved;
            graph.RunPlain(_session);
            if (OrtNativeApi.StatisticsOf(_arena)?.Reserved == before)
            {
                return;
            }
        }
    }

    private StepGraph Create(IReadOnlyDictionary<string, DenseTensor> inputs)
    {
        Dictionary<string, DeviceTensor> tensors = _fed.ToDictionary(
            v => v.Name, v => new DeviceTensor(_device, v.ElementType, inputs.TryGetValue(v.Name, out DenseTensor? given) ? given.Dims : []));
        OrtIoBinding step = _session.CreateIoBinding();
        foreach ((string name, DeviceTensor tensor) in tensors)
        {
            step.BindInput(name, tensor.Value);
        }

        // The graph writes a scalar, the copy to the host reads a vector.
        DeviceTensor loss = new(_device, DataType.Float, [1]);
        OrtValue scalar = loss.Scalar();
        step.BindOutput(ArtifactNames.Loss, scalar);
        _bindState(step);
        return new StepGraph(++_count, _upload.Bind(tensors), step, [.. tensors.Values, loss], loss);
    }
}
