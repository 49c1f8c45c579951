using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Optimizers;

/// <summary>
/// What an optimizer sees outside its groups. Scalars are computed in double, as PyTorch computes them in Python:
/// <c>1 - 0.999^t</c> in float would lose four digits at the first steps.
/// </summary>
/// <param name="Builder">Emits the nodes.</param>
/// <param name="Step">Number of this step from 1, double scalar.</param>
/// <param name="LearningRate">Scheduled learning rate, double scalar.</param>
public sealed record OptimizerContext(GraphBuilder Builder, Value Step, Value LearningRate)
{
    /// <summary><see cref="Step"/> as int64 scalar.</summary>
    public required Value StepNumber { get; init; }

    /// <summary>A double constant of rank 0.</summary>
    public Value Constant(double value) => Builder.Scalar(value);

    /// <summary>Converts a double scalar to the float that is multiplied into vectors.</summary>
    public Value ToFloat(Value scalar) => Builder.Cast(scalar, DataType.Float);
}
