using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Losses;

/// <summary>
/// Binary cross-entropy of logits against targets between 0 and 1, in float, as torch.nn.BCEWithLogitsLoss: the mean over all elements of
/// <c>max(x, 0) - x t + log(1 + exp(-|x|))</c>. The target has the output's shape.
/// </summary>
public sealed class BinaryCrossEntropyLoss : ILossHead
{
    private BinaryCrossEntropyLoss()
    {
    }

    /// <summary>The loss.</summary>
    public static BinaryCrossEntropyLoss Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "bce-with-logits";

    /// <inheritdoc/>
    public LossAttachment Attach(OnnxModel model, Value output) => ElementwiseLoss.Attach(
        model, output, Name, (b, logits, target) => b.Sub(b.Op("Softplus", [logits]), b.Mul(logits, target)));
}
