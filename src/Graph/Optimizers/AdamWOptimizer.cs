using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Optimizers;

/// <summary>
/// AdamW as <c>torch.optim.AdamW</c>, decay decoupled and before the update (Loshchilov and Hutter, arXiv 1711.05101):
/// <code>
/// p = p * (1 - lr * wd)
/// m = b1 * m + (1 - b1) * g
/// v = b2 * v + (1 - b2) * g * g
/// p = p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
/// </code>
/// The last line is emitted with numerator and denominator multiplied by <c>sqrt(1 - b2^t)</c>: one pass less.
/// </summary>
public sealed class AdamWOptimizer : IOptimizerDefinition
{
    /// <summary>Name of the first moment, as in PyTorch's optimizer state.</summary>
    public const string FirstMoment = "exp_avg";

    /// <summary>Name of the second moment, as in PyTorch's optimizer state.</summary>
    public const string SecondMoment = "exp_avg_sq";

    private const string Epsilon = "epsilon";
    private const string CorrectionRatio = "correction_ratio";

    /// <summary>Decay of the first moment, b1.</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Decay of the second moment, b2.</summary>
    public double Beta2 { get; init; } = 0.999;

    /// <summary>Added to the denominator, eps.</summary>
    public double Eps { get; init; } = 1e-8;

    /// <inheritdoc/>
    public double WeightDecay { get; init; } = 0.01;

    /// <inheritdoc/>
    public string Name => "adamw";

    /// <inheritdoc/>
    public IReadOnlyList<string> StateNames { get; } = [FirstMoment, SecondMoment];

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Value> EmitShared(OptimizerContext context)
    {
        GraphBuilder b = context.Builder;
        Value one = context.Constant(1);
        Value correction1 = b.Sub(one, b.Op("Pow", [context.Constant(Beta1), context.Step]));
        Value root2 = b.Op("Sqrt", [b.Sub(one, b.Op("Pow", [context.Constant(Beta2), context.Step]))]);
        return new Dictionary<string, Value>
        {
            [CorrectionRatio] = b.Div(root2, correction1),
            [Epsilon] = context.ToFloat(b.Mul(root2, context.Constant(Eps))),
        };
    }

    /// <inheritdoc/>
    public GroupUpdate EmitUpdate(GroupUpdateContext context)
    {
        GraphBuilder b = context.Builder;
        Value g = context.Gradients;
        Value m = b.Add(
            b.Mul(context.States[FirstMoment], b.Scalar((float)Beta1)),
            b.Mul(g, context.ScaledGradientFactor(1 - Beta1)));
        Value v = b.Add(
            b.Mul(context.States[SecondMoment], b.Scalar((float)Beta2)),
            b.Mul(b.Mul(g, g), context.ScaledGradientFactor(1 - Beta2, power: 2)));

        Value stepSize = context.Optimizer.ToFloat(b.Mul(context.LearningRate, context.Shared[CorrectionRatio]));
        Value direction = b.Div(m, b.Add(b.Op("Sqrt", [v]), context.Shared[Epsilon]));
        Value update = b.Mul(direction, stepSize);
        Value kept = context.WeightDecay == 0 ? context.Parameters : b.Mul(context.Parameters, Keep(context));
        return new GroupUpdate(b.Sub(kept, update), new Dictionary<string, Value> { [FirstMoment] = m, [SecondMoment] = v });
    }

    /// <summary>1 - lr * wd as float scalar.</summary>
    private static Value Keep(GroupUpdateContext context)
    {
        GraphBuilder b = context.Builder;
        Value decay = b.Mul(context.LearningRate, context.Optimizer.Constant(context.WeightDecay));
        return context.Optimizer.ToFloat(b.Sub(context.Optimizer.Constant(1), decay));
    }
}
