using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Graph.Training.OrtTraining;

/// <summary>Operators that came after opset 21, written as ONNX Runtime 1.19.2 knows them.</summary>
internal static class EarlierForms
{
    private static readonly Dictionary<string, Func<Node, GraphBuilder, Value>> Forms = new(StringComparer.Ordinal)
    {
        // The name under which ONNX Runtime had the operator before ONNX took it over; inputs and attributes are the same.
        ["RMSNormalization"] = (node, b) => b.Op("SimplifiedLayerNormalization", [.. node.Inputs], [.. node.Attributes.Select(a => (a.Key, a.Value))]),

        // y = x * sigmoid(alpha * x)
        ["Swish"] = (node, b) => b.Mul(node.Inputs[0]!, b.Op("Sigmoid", [b.Mul(node.Inputs[0]!, node.GetFloat("alpha", 1))])),
    };

    /// <summary>Rewrites every such operator, in subgraphs too; results keep their names.</summary>
    internal static void Write(OnnxModel model)
    {
        foreach (Node node in model.Graph.AllNodes().Where(n => n.Domain.Length == 0 && Forms.ContainsKey(n.OpType)).ToArray())
        {
            GraphBuilder builder = new(node.OwningGraph, model.Opset, node) { Scope = node.Name.Length > 0 ? node.Name + "/" : "" };
            NodeReplacement.Replace(node, Forms[node.OpType](node, builder));
        }
    }
}
