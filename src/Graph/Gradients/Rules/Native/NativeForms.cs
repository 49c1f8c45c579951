using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules.Native;

/// <summary>What the rules of native operators have in common.</summary>
internal static class NativeForms
{
    /// <summary>Emits a native operator with the attributes of the node that is differentiated.</summary>
    internal static Node EmitNative(this GradientContext c, string opType, IEnumerable<Value?> inputs, int outputs)
    {
        Node node = c.Builder.Emit(opType, OperatorDomains.OrtQLoRA, inputs, outputs);
        foreach ((string name, NodeAttribute attribute) in c.Node.Attributes)
        {
            node.SetAttribute(name, attribute);
        }

        NodeInference.Infer(node, c.Builder.Opset);
        return node;
    }
}
