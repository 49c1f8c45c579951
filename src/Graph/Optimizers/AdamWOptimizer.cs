using OrtQLoRA.Graph.Inference;
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
/// The last line is emitted with numerator and denominator multiplied by <c>sqrt(1 - b2^t)</c>: one pass less. The native operator
/// <c>AdamW</c> does all of it in one pass; b1 and b2 are floats there.
/// </summary>
public sealed class AdamWOptimizer : INativeOptimizer
{
    /// <summary>Name of the first moment, as in PyTorch's optimizer state.</summary>
    public const string FirstMoment = "exp_avg";

    /// <summary>Name of the second moment, as in PyTorch's optimizer state.</summary>
    public const string SecondMoment = "exp_avg_sq";

    private const string NativeOperator = "AdamW";
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
    public IReadOnlyList<OptimizerState> States { get; } = [new(FirstMoment), new(SecondMoment)];

    /// <inheritdoc/>
    public IReadOnlyList<string> NativeOperators { get; } = [NativeOperator];

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

    /// <inheritdoc/>
    public GroupUpdate EmitNativeUpdate(GroupUpdateContext context)
    {
        OptimizerContext optimizer = context.Optimizer;
        Value rate = optimizer.ToFloat(context.LearningRate);
        Value[] inputs = [context.Parameters, context.Gradients, context.States[FirstMoment], context.States[SecondMoment], rate, optimizer.StepNumber];
        IReadOnlyList<Value> updated = context.Builder.Emit(
            NativeOperator,
            OperatorDomains.OrtQLoRA,
            context.GradientScale is null ? inputs : [.. inputs, optimizer.ToFloat(context.GradientScale)],
            3,
            ("beta1", (float)Beta1),
            ("beta2", (float)Beta2),
            ("epsilon", (float)Eps),
            ("weight_decay", (float)context.WeightDecay)).Outputs;
        return new GroupUpdate(updated[0], new Dictionary<string, Value> { [FirstMoment] = updated[1], [SecondMoment] = updated[2] });
    }

    /// <summary>1 - lr * wd as float scalar.</summary>
    private static Value Keep(GroupUpdateContext context)
    {
        GraphBuilder b = context.Builder;
        Value decay = b.Mul(context.LearningRate, context.Optimizer.Constant(context.WeightDecay));
        return context.Optimizer.ToFloat(b.Sub(context.Optimizer.Constant(1), decay));
    }
}
