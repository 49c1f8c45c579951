namespace OrtQLoRA.Graph.Gradients;

/// <summary>How <see cref="GradientBuilder"/> builds gradients.</summary>
public sealed class GradientOptions
{
    /// <summary>Rules to use; null (the default) takes <see cref="GradientRuleRegistry.CreateDefault"/>.</summary>
    public GradientRuleRegistry? Rules { get; init; }

    /// <summary>What to give for values on which the loss does not depend; zeros by default.</summary>
    public UnreachableGradient Unreachable { get; init; } = UnreachableGradient.Zeros;
}
