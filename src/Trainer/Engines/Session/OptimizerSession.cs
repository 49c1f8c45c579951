using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>The optimizer model, bound once and for all to the arenas of every group.</summary>
internal sealed class OptimizerSession : IDisposable
{
    private readonly InferenceSession _session;
    private readonly OrtIoBinding _binding;
    private readonly RunOptions _runOptions = new();
    private readonly float[] _learningRate = new float[1];
    private readonly long[] _step = new long[1];
    private readonly float[] _norm = new float[1];
    private readonly List<OrtValue> _scalars = [];
    private readonly IReadOnlyList<(string Name, OrtValue Value)> _scalarInputs;

    internal OptimizerSession(InferenceSession session, IEnumerable<GroupArenas> groups)
    {
        _session = session;
        _binding = session.CreateIoBinding();
        _scalarInputs = [(ArtifactNames.LearningRate, Scalar(_learningRate)), (ArtifactNames.Step, Scalar(_step))];
        _binding.BindOutput(ArtifactNames.GradientNorm, Scalar(_norm));
        foreach (GroupArenas group in groups)
        {
            _binding.BindInput(ArtifactNames.GroupGradients(group.Name), group.Gradients.Whole);
            BindInPlace(ArtifactNames.GroupParameters(group.Name), group.Parameters);
            foreach ((string state, TensorArena arena) in group.States)
            {
                BindInPlace(ArtifactNames.GroupState(state, group.Name), arena);
            }
        }
    }

    /// <summary>Runs one step.</summary>
    /// <returns>The gradient norm before clipping.</returns>
    internal double Run(double learningRate, long step)
    {
        _learningRate[0] = (float)learningRate;
        _step[0] = step;

        // Binding copies to a GPU, so each step binds anew.
        foreach ((string name, OrtValue value) in _scalarInputs)
        {
            _binding.BindInput(name, value);
        }

        SessionRun.Run(_session, _runOptions, _binding, "optimizer step");
        return _norm[0];
    }

    public void Dispose()
    {
        _binding.Dispose();
        _session.Dispose();
        _scalars.ForEach(s => s.Dispose());
        _runOptions.Dispose();
    }

    private void BindInPlace(string name, TensorArena arena)
    {
        _binding.BindInput(name, arena.Whole);
        _binding.BindOutput(ArtifactNames.Updated(name), arena.Whole);
    }

    private OrtValue Scalar<T>(T[] memory)
        where T : unmanaged
    {
        OrtValue value = OrtValue.CreateTensorValueFromMemory(OrtMemoryInfo.DefaultInstance, memory.AsMemory(), []);
        _scalars.Add(value);
        return value;
    }
}
