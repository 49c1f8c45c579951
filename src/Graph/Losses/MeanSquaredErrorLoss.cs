using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;

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
    public LossAttachment Attach(OnnxModel model, Value output)
    {
        if (!output.ElementType.IsFloatingPoint())
        {
            throw new GraphException($"The loss '{Name}' needs a floating-point output, but '{output}' is not floating-point. Choose another output.");
        }

        OnnxGraph graph = model.Graph;
        LossNames.Free(graph, ArtifactNames.Target, Name);
        LossNames.Free(graph, ArtifactNames.Loss, Name);
        Value target = graph.AddInput(ArtifactNames.Target, DataType.Float, output.Shape);
        GraphBuilder b = new(graph, model.Opset) { Scope = "loss/" };
        Value difference = b.Sub(b.Cast(output, DataType.Float), target);
        Value loss = b.Op("ReduceMean", [b.Mul(difference, difference)], ("keepdims", 0));
        loss.Name = ArtifactNames.Loss;
        return new LossAttachment(loss, target, null);
    }
}
