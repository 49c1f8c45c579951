using OrtQLoRA.Graph.Inference.Rules;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference;

/// <summary>Infers the types of one node's outputs from its inputs.</summary>
public static class NodeInference
{
    /// <summary>Sets the outputs' types as far as they follow from the inputs; leaves the others as they are.</summary>
    /// <param name="node">The node. A node of an operator without a rule keeps the types it has.</param>
    /// <param name="opset">Version of ONNX's own operator set.</param>
    /// <exception cref="GraphException">The types of the inputs contradict the operator.</exception>
    public static void Infer(Node node, long opset) => Infer(node, new InferenceContext(opset));

    /// <summary>Sets the outputs' types as far as they follow from the inputs; leaves the others as they are.</summary>
    /// <param name="node">The node. A node of an operator without a rule keeps the types it has.</param>
    /// <param name="context">What is known beyond the node; serves one walk over a graph.</param>
    /// <exception cref="GraphException">The types of the inputs contradict the operator.</exception>
    public static void Infer(Node node, InferenceContext context)
    {
        if (OperatorRegistry.TryGetRule(node, out InferenceRule? rule))
        {
            rule(new OperatorCall(node, context));
        }
    }

    /// <summary>Gives inputs of a node's subgraphs that have no type what the node feeds them.</summary>
    internal static void BindSubgraphInputs(Node node, InferenceContext context)
    {
        if (node.Subgraphs.Any())
        {
            ControlFlowRules.BindInputs(new OperatorCall(node, context));
        }
    }
}
