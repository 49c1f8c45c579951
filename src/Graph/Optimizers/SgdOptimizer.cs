using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Optimizers;

/// <summary>
/// SGD as <c>torch.optim.SGD</c>, weight decay as L2 penalty (coupled):
/// <code>
/// g = g + wd * p
/// buffer = momentum * buffer + (1 - dampening) * g        (first step: buffer = g)
/// p = p - lr * buffer                                     (Nesterov: p - lr * (g + momentum * buffer))
/// </code>
/// </summary>
public sealed class SgdOptimizer : IOptimizerDefinition
{
    /// <summary>Name of the momentum buffer, as in PyTorch's optimizer state.</summary>
    public const string MomentumBuffer = "momentum_buffer";

    private const string GradientFactor = "gradient_factor";

    /// <summary>Share of the buffer that is kept; 0 for plain SGD, which keeps no state.</summary>
    public double Momentum { get; init; }

    /// <summary>Share of the gradient that does not enter the buffer, from the second step on.</summary>
    public double Dampening { get; init; }

    /// <summary>Nesterov momentum; asks for momentum above 0 and no dampening.</summary>
    public bool Nesterov { get; init; }

    /// <inheritdoc/>
    public double WeightDecay { get; init; }

    /// <inheritdoc/>
    public string Name => "sgd";

    /// <inheritdoc/>
    public IReadOnlyList<OptimizerState> States => Momentum == 0 ? [] : [new(MomentumBuffer)];

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Value> EmitShared(OptimizerContext context)
    {
        if (Momentum == 0 || Dampening == 0)
        {
            return new Dictionary<string, Value>();
        }

        // PyTorch's first step puts the whole gradient into the buffer, whatever the dampening.
        GraphBuilder b = context.Builder;
        Value isFirst = b.Op("Equal", [context.Step, context.Constant(1)]);
        Value factor = b.Where(isFirst, context.Constant(1), context.Constant(1 - Dampening));
        return new Dictionary<string, Value> { [GradientFactor] = context.ToFloat(factor) };
    }

    /// <inheritdoc/>
    public GroupUpdate EmitUpdate(GroupUpdateContext context)
    {
        GraphBuilder b = context.Builder;
        Value gradient = context.GradientScale is null ? context.Gradients : b.Mul(context.Gradients, context.ScaledGradientFactor(1));
        if (context.WeightDecay != 0)
        {
            gradient = b.Add(gradient, b.Mul(context.Parameters, b.Scalar((float)context.WeightDecay)));
        }

        Value rate = context.Optimizer.ToFloat(context.LearningRate);
        if (Momentum == 0)
        {
            return new GroupUpdate(b.Sub(context.Parameters, b.Mul(gradient, rate)), new Dictionary<string, Value>());
        }

        Value momentum = b.Scalar((float)Momentum);
        Value share = context.Shared.TryGetValue(GradientFactor, out Value? factor) ? b.Mul(gradient, factor) : gradient;
        Value buffer = b.Add(b.Mul(context.States[MomentumBuffer], momentum), share);
        Value direction = Nesterov ? b.Add(gradient, b.Mul(buffer, momentum)) : buffer;
        return new GroupUpdate(
            b.Sub(context.Parameters, b.Mul(direction, rate)), new Dictionary<string, Value> { [MomentumBuffer] = buffer });
    }
}
