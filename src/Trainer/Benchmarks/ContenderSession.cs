using System.Diagnostics;
using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Engines.Session;

namespace OrtQLoRA.Trainer.Benchmarks;

/// <summary>A session that is run again and again on the same inputs and into the same outputs, so that a run is the operators' work alone.</summary>
internal sealed class ContenderSession : IDisposable
{
    private readonly FrozenWeights _weights = new();
    private readonly InferenceSession _session;
    private readonly OrtIoBinding _binding;
    private readonly RunOptions _runOptions = new();
    private readonly BoundInputs _inputs;
    private readonly IDisposableReadOnlyCollection<OrtValue> _outputs;

    internal ContenderSession(OnnxModel model, EngineOptions options, IReadOnlyDictionary<string, DenseTensor> feed)
    {
        _session = new SessionFactory(options, _weights).Create(model, model.Graph.Name);
        _binding = _session.CreateIoBinding();
        _inputs = new BoundInputs(_binding, _session.InputNames, feed);
        foreach (string output in _session.OutputNames)
        {
            _binding.BindOutputToDevice(output, OrtMemoryInfo.DefaultInstance);
        }

        // What the first run allocates, all others write into; what replaces an input, into that.
        Run();
        _outputs = _binding.GetOutputValues();
        _binding.ClearBoundOutputs();
        foreach ((string name, OrtValue value) in _session.OutputNames.Zip(_outputs))
        {
            _binding.BindOutput(name, _session.InputNames.FirstOrDefault(i => ArtifactNames.Updated(i) == name) is { } replaced ? _inputs[replaced] : value);
        }

        Run();
    }

    /// <summary>Runs for so long, three times at least.</summary>
    /// <returns>Seconds of each run.</returns>
    internal List<double> Time(double seconds)
    {
        const int FewestRuns = 3;
        List<double> times = [];
        long start = Stopwatch.GetTimestamp();
        do
        {
            long before = Stopwatch.GetTimestamp();
            Run();
            times.Add(Stopwatch.GetElapsedTime(before).TotalSeconds);
        }
        while (times.Count < FewestRuns || Stopwatch.GetElapsedTime(start).TotalSeconds < seconds);

        return times;
    }

    public void Dispose()
    {
        _outputs.Dispose();
        _inputs.Dispose();
        _binding.Dispose();
        _session.Dispose();
        _runOptions.Dispose();
        _weights.Dispose();
    }

    private void Run() => SessionRun.Run(_session, _runOptions, _binding, "run of the benchmark");
}
