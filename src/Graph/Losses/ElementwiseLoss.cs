using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Graph.Losses;

/// <summary>What losses that are means over elements share: the target input, arithmetic in float, the mean.</summary>
internal static class ElementwiseLoss
{
    /// <summary>Attaches a loss.</summary>
    /// <param name="model">The model; extended in place.</param>
    /// <param name="output">The output the loss looks at.</param>
    /// <param name="name">Name of the loss, for messages.</param>
    /// <param name="terms">Emits the loss of each element from output and target, both float.</param>
    /// <exception cref="GraphException">The output is not floating-point, or a name is taken.</exception>
    internal static LossAttachment Attach(OnnxModel model, Value output, string name, Func<GraphBuilder, Value, Value, Value> terms)
    {
        if (!output.ElementType.IsFloatingPoint())
        {
            throw new GraphException($"The loss '{name}' needs a floating-point output, but '{output}' is not floating-point. Choose another output.");
        }

        OnnxGraph graph = model.Graph;
        LossNames.Free(graph, ArtifactNames.Target, name);
        LossNames.Free(graph, ArtifactNames.Loss, name);
        Value target = graph.AddInput(ArtifactNames.Target, DataType.Float, output.Shape);
        GraphBuilder b = new(graph, model.Opset) { Scope = "loss/" };
        Value loss = b.Op("ReduceMean", [terms(b, b.Cast(output, DataType.Float), target)], ("keepdims", 0));
        loss.Name = ArtifactNames.Loss;
        return new LossAttachment(loss, target, null);
    }
}
