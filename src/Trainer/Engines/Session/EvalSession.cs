using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>The eval model, bound to the same parameters and frozen weights as the training model.</summary>
internal sealed class EvalSession : IDisposable
{
    private readonly InferenceSession _session;
    private readonly OrtIoBinding _binding;
    private readonly RunOptions _runOptions = new();
    private readonly IReadOnlyList<string> _userInputs;

    internal EvalSession(InferenceSession session, TrainingArtifacts artifacts, Func<string, OrtValue> parameter)
    {
        _session = session;
        _binding = session.CreateIoBinding();
        _userInputs = artifacts.UserInputs;
        foreach (TrainableParameter p in artifacts.Parameters.Where(p => session.InputMetadata.ContainsKey(p.Name)))
        {
            _binding.BindInput(p.Name, parameter(p.Name));
        }
    }

    internal EvalStepResult Run(IReadOnlyDictionary<string, DenseTensor> inputs, IReadOnlyCollection<string> outputs)
    {
        string[] unknown = [.. outputs.Where(o => !_session.OutputMetadata.ContainsKey(o))];
        if (unknown.Length > 0)
        {
            throw new EngineException(
                $"The model has no output {string.Join(", ", unknown.Select(o => $"'{o}'"))}; it has {string.Join(", ", _session.OutputNames)}.", isUserError: true);
        }

        using BoundInputs bound = new(_binding, _userInputs, inputs);
        _binding.ClearBoundOutputs();
        string[] wanted = [ArtifactNames.Loss, .. outputs];
        foreach (string output in wanted)
        {
            _binding.BindOutputToDevice(output, OrtMemoryInfo.DefaultInstance);
        }

        SessionRun.Run(_session, _runOptions, _binding, "eval step");
        using IDisposableReadOnlyCollection<OrtValue> values = _binding.GetOutputValues();
        double loss = values[0].GetTensorDataAsSpan<float>()[0];
        Dictionary<string, DenseTensor> tensors = wanted.Zip(values).Skip(1).ToDictionary(p => p.First, p => TensorCopy.Of(p.Second));
        _binding.ClearBoundOutputs();
        return new EvalStepResult(loss, tensors);
    }

    public void Dispose()
    {
        _binding.Dispose();
        _session.Dispose();
        _runOptions.Dispose();
    }
}
