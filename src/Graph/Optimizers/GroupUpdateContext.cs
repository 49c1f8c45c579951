using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Optimizers;

/// <summary>One parameter group as its update sees it: vectors are float [n], scalars double.</summary>
public sealed class GroupUpdateContext
{
    /// <summary>Builder and scalars of the whole step.</summary>
    public required OptimizerContext Optimizer { get; init; }

    /// <summary>What <see cref="IOptimizerDefinition.EmitShared"/> emitted.</summary>
    public required IReadOnlyDictionary<string, Value> Shared { get; init; }

    /// <summary>The parameters, float [n].</summary>
    public required Value Parameters { get; init; }

    /// <summary>The accumulated gradients before clipping, float [n].</summary>
    public required Value Gradients { get; init; }

    /// <summary>
    /// The clipping factor, double scalar; null if gradients are not clipped. An update folds it into the factors that
    /// it multiplies gradients by, which saves a pass over all gradients.
    /// </summary>
    public required Value? GradientScale { get; init; }

    /// <summary>The states by name, of their own shapes and types (<see cref="OptimizerState"/>).</summary>
    public required IReadOnlyDictionary<string, Value> States { get; init; }

    /// <summary>The group's learning rate, double scalar.</summary>
    public required Value LearningRate { get; init; }

    /// <summary>The group's weight decay.</summary>
    public required double WeightDecay { get; init; }

    /// <summary>Emits the nodes.</summary>
    public GraphBuilder Builder => Optimizer.Builder;

    /// <summary>The same group with other states, as an optimizer sees it that another one builds on.</summary>
    internal GroupUpdateContext With(IReadOnlyDictionary<string, Value> states) => new()
    {
        Optimizer = Optimizer,
        Shared = Shared,
        Parameters = Parameters,
        Gradients = Gradients,
        GradientScale = GradientScale,
        States = states,
        LearningRate = LearningRate,
        WeightDecay = WeightDecay,
    };

    /// <summary>
    /// A float scalar: <paramref name="factor"/> times the clipping factor to the power <paramref name="power"/> (1 or 2).
    /// </summary>
    public Value ScaledGradientFactor(double factor, int power = 1)
    {
        if (GradientScale is null)
        {
            return Builder.Scalar((float)factor);
        }

        Value scale = power == 1 ? GradientScale : Builder.Mul(GradientScale, GradientScale);
        return Optimizer.ToFloat(Builder.Mul(scale, Optimizer.Constant(factor)));
    }
}
