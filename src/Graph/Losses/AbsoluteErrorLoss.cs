using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Losses;

/// <summary>Mean over all elements of |output - target|, in float; the target has the output's shape.</summary>
public sealed class AbsoluteErrorLoss : ILossHead
{
    private AbsoluteErrorLoss()
    {
    }

    /// <summary>The loss.</summary>
    public static AbsoluteErrorLoss Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "l1";

    /// <inheritdoc/>
    public LossAttachment Attach(OnnxModel model, Value output) => ElementwiseLoss.Attach(
        model, output, Name, (b, prediction, target) => b.Op("Abs", [b.Sub(prediction, target)]));
}
