namespace OrtQLoRA.Graph.Training.OrtTraining;

/// <summary>Names that ONNX Runtime's training session looks for, beside those of <see cref="ArtifactNames"/>.</summary>
internal static class OrtTrainingNames
{
    /// <summary>Input of the training model, bool [1]: whether gradients overwrite the accumulated ones.</summary>
    internal const string LazyResetGradient = "lazy_reset_grad";

    /// <summary>Input of the optimizer model: all parameters, a sequence.</summary>
    internal const string Parameters = "params";

    /// <summary>Input of the optimizer model: their gradients, a sequence.</summary>
    internal const string Gradients = "gradients";

    /// <summary>Input of the optimizer model: the first moments, a sequence.</summary>
    internal const string FirstMoments = "first_order_moments";

    /// <summary>Input of the optimizer model: AdamW's second moments, a sequence.</summary>
    internal const string SecondMoments = "second_order_moments";

    /// <summary>Endings by which the session takes an input for a gradient and hides an output.</summary>
    internal static IReadOnlyList<string> GradientEndings { get; } = [ArtifactNames.AccumulationBuffer(""), "_grad", ArtifactNames.AccumulationOutput("")];

    /// <summary>Whether the session would take an input or output of this name for something of its own.</summary>
    internal static bool IsReserved(string name) =>
        name == LazyResetGradient || GradientEndings.Any(e => name.EndsWith(e, StringComparison.Ordinal));
}
