using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Optimizers;

/// <summary>
/// LoRA-FA's Adam (Zhang et al. 2023, arXiv 2308.03303; PEFT's <c>create_lorafa_optimizer</c>): A stays, the gradient of B is taken in
/// the space that A leaves it (<see cref="Training.TrainableParameter.Preconditioner"/>), and decay follows the update:
/// <code>
/// m = b1 * m + (1 - b1) * g
/// v = b2 * v + (1 - b2) * g * g
/// p = p - lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)
/// p = p - lr * wd * p
/// </code>
/// Unlike AdamW, eps is added to the uncorrected root.
/// </summary>
public sealed class LoraFaOptimizer : IOptimizerDefinition
{
    /// <summary>Name under which it is chosen.</summary>
    public const string OptimizerName = "lorafa";

    private const string CorrectionRatio = "correction_ratio";

    /// <summary>Decay of the first moment, b1.</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Decay of the second moment, b2.</summary>
    public double Beta2 { get; init; } = 0.999;

    /// <summary>Added to the denominator, eps.</summary>
    public double Eps { get; init; } = 1e-6;

    /// <inheritdoc/>
    public double WeightDecay { get; init; }

    /// <inheritdoc/>
    public string Name => OptimizerName;

    /// <inheritdoc/>
    public IReadOnlyList<OptimizerState> States { get; } = [new(AdamWOptimizer.FirstMoment), new(AdamWOptimizer.SecondMoment)];

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Value> EmitShared(OptimizerContext context)
    {
        GraphBuilder b = context.Builder;
        Value one = context.Constant(1);
        Value correction1 = b.Sub(one, b.Op("Pow", [context.Constant(Beta1), context.Step]));
        Value root2 = b.Op("Sqrt", [b.Sub(one, b.Op("Pow", [context.Constant(Beta2), context.Step]))]);
        return new Dictionary<string, Value> { [CorrectionRatio] = b.Div(root2, correction1) };
    }

    /// <inheritdoc/>
    public GroupUpdate EmitUpdate(GroupUpdateContext context)
    {
        GraphBuilder b = context.Builder;
        Value g = context.Gradients;
        Value m = b.Add(b.Mul(context.States[AdamWOptimizer.FirstMoment], b.Scalar((float)Beta1)), b.Mul(g, context.ScaledGradientFactor(1 - Beta1)));
        Value v = b.Add(b.Mul(context.States[AdamWOptimizer.SecondMoment], b.Scalar((float)Beta2)), b.Mul(b.Mul(g, g), context.ScaledGradientFactor(1 - Beta2, power: 2)));
        Value stepSize = context.Optimizer.ToFloat(b.Mul(context.LearningRate, context.Shared[CorrectionRatio]));
        Value updated = b.Sub(context.Parameters, b.Mul(b.Div(m, b.Add(b.Op("Sqrt", [v]), b.Scalar((float)Eps))), stepSize));
        if (context.WeightDecay != 0)
        {
            Value decay = b.Mul(context.LearningRate, context.Optimizer.Constant(context.WeightDecay));
            updated = b.Mul(updated, context.Optimizer.ToFloat(b.Sub(context.Optimizer.Constant(1), decay)));
        }

        return new GroupUpdate(updated, new Dictionary<string, Value> { [AdamWOptimizer.FirstMoment] = m, [AdamWOptimizer.SecondMoment] = v });
    }
}
