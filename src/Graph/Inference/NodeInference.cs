using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference;

/// <summary>Infers the types of one node's outputs from its inputs.</summary>
public static class NodeInference
{
    /// <summary>Sets the outputs' types as far as they follow from the inputs; leaves the others as they are.</summary>
    /// <param name="node">The node.</param>
    /// <param name="opset">Version of ONNX's own operator set.</param>
    public static void Infer(Node node, long opset)
    {
        foreach (Value output in node.Outputs)
        {
            output.Type ??= node.InputOrNull(0)?.ElementType is DataType type and not DataType.Undefined
                ? new OnnxType.Tensor(type, null)
                : null;
        }
    }
}
