namespace OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;

/// <summary>
/// A checkpoint of ONNX Runtime's on-device training: values of the parameters, the optimizer's state and a bag of properties.
/// Read by <see cref="OrtCheckpointReader"/>, written by <see cref="OrtCheckpointWriter"/>.
/// </summary>
public sealed class OrtCheckpoint : IDisposable
{
    /// <summary>The version that ONNX Runtime 1.18 and 1.19 read; they refuse any other.</summary>
    public const int CurrentVersion = 2;

    /// <summary>The version that ONNX Runtime 1.17 reads.</summary>
    public const int FirstVersion = 1;

    private readonly IDisposable? _data;

    /// <summary>Creates a checkpoint.</summary>
    /// <param name="data">What tensors are read from, released with the checkpoint; null if they lie in memory.</param>
    public OrtCheckpoint(IDisposable? data = null)
    {
        _data = data;
    }

    /// <summary>Version of the format: <see cref="FirstVersion"/> or <see cref="CurrentVersion"/>.</summary>
    public int Version { get; init; } = CurrentVersion;

    /// <summary>Parameters that are trained, in order.</summary>
    public required IReadOnlyList<CheckpointParameter> Trainable { get; init; }

    /// <summary>Parameters that are not, in order.</summary>
    public IReadOnlyList<CheckpointParameter> Frozen { get; init; } = [];

    /// <summary>Whether it only names parameters, whose values the program loads from elsewhere. Needs version 2.</summary>
    public bool IsNominal { get; init; }

    /// <summary>The optimizer's groups; none in a first checkpoint.</summary>
    public IReadOnlyList<OptimizerGroupState> OptimizerGroups { get; init; } = [];

    /// <summary>Properties of the program's own: <see cref="long"/>, <see cref="float"/> or <see cref="string"/>.</summary>
    public IReadOnlyDictionary<string, object> Properties { get; init; } = new Dictionary<string, object>();

    /// <summary>Releases the data file; tensors that lie in it can no longer be read.</summary>
    public void Dispose() => _data?.Dispose();
}
