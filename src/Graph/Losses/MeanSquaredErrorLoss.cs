using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Losses;

/// <summary>Mean over all elements of (output - target)^2, in float; the target has the output's shape.</summary>
public sealed class MeanSquaredErrorLoss : ILossHead
{
    private MeanSquaredErrorLoss(string name)
    {
        Name = name;
    }

    /// <summary>Under the name of the task, <c>regression</c>.</summary>
    public static MeanSquaredErrorLoss Regression { get; } = new("regression");

    /// <summary>Under the name of the loss, <c>mse</c>.</summary>
    public static MeanSquaredErrorLoss Plain { get; } = new("mse");

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public LossAttachment Attach(OnnxModel model, Value output) => ElementwiseLoss.Attach(model, output, Name, (b, prediction, target) =>
    {
        Value difference = b.Sub(prediction, target);
        return b.Mul(difference, difference);
    });
}
