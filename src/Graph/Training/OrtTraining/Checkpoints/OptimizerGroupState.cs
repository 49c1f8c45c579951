using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;

/// <summary>What a checkpoint holds of an optimizer's parameter group.</summary>
/// <param name="Name">Name of the group; ONNX Runtime knows <see cref="ParameterGroup.DefaultName"/> only.</param>
/// <param name="Step">Optimizer steps done.</param>
/// <param name="InitialLearningRate">Rate that ONNX Runtime's linear scheduler starts from; it does not set the session's rate.</param>
/// <param name="Moments">
/// For each trained parameter its moments, <see cref="FirstMoment"/> and for AdamW <see cref="SecondMoment"/>, in the parameter's shape. Empty: they
/// start at zero.
/// </param>
public sealed record OptimizerGroupState(
    string Name, long Step, float InitialLearningRate, IReadOnlyDictionary<string, IReadOnlyDictionary<string, ITensor>> Moments)
{
    /// <summary>Name of AdamW's first moment.</summary>
    public const string FirstMoment = "momentum0";

    /// <summary>Name of AdamW's second moment.</summary>
    public const string SecondMoment = "momentum1";

    /// <summary>The rate of a session to which none was given.</summary>
    public const float DefaultLearningRate = 0.001f;
}
