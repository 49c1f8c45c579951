using OrtQLoRA.Graph.Inference.Rules;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Turns <c>Constant</c> nodes into initializers of the same names, in the main graph and in subgraphs, whichever of
/// the value attributes they use. A constant that is handed out as a graph output stays a node, as does a sparse one.
/// </summary>
public sealed class ConstantToInitializerPass : GraphPass
{
    /// <inheritdoc/>
    /// <exception cref="GraphException">A Constant node has no value.</exception>
    public override bool Run(OnnxModel model)
    {
        bool changed = false;
        foreach (Node node in model.Graph.AllNodes().Where(n => n.Is("Constant")).ToArray())
        {
            // In a function body the value may come from the caller.
            if (node.Outputs.Count == 1 && !node.Outputs[0].IsGraphOutput && !node.Attributes.Values.Any(a => a.ReferenceName is not null)
                && CreationRules.ConstantTensor(node) is ITensor tensor)
            {
                node.OwningGraph.ReplaceByInitializers(node, [tensor]);
                changed = true;
            }
        }

        return changed;
    }
}
