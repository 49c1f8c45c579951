using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Gives Reshape constant dimensions where the inferred shapes allow it, and joins reshapes that follow each other.
/// Exporters gather dimensions by Shape, Gather and Concat at each use; a step then spends as many nodes on shapes as on
/// numbers, on a GPU each of them on the host.
/// </summary>
/// <remarks>Run it on a graph whose shapes have been inferred, and dead-node elimination behind it.</remarks>
public sealed class ConstantReshapePass : GraphPass
{
    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        bool changed = false;
        foreach (Node node in model.Graph.Nodes.Where(n => n.Is("Reshape")).ToArray())
        {
            changed |= Join(node) | MakeConstant(node, model.Opset);
        }

        return changed;
    }

    // A dimension of 0 in the second target copies one of the first result, so the target must be computed or positive.
    private static bool Join(Node node)
    {
        if (node.Inputs[0]?.Producer is not { } first || !first.Is("Reshape") || first.Graph != node.Graph || first.Inputs[0] is not { Shape: { } from }
            || node.Outputs[0].Shape is not { } to || ReshapeDims.Constant(from, to) is null)
        {
            return false;
        }

        node.SetInput(0, first.Inputs[0]);
        return true;
    }

    private static bool MakeConstant(Node node, long opset)
    {
        Value target = node.Inputs[1]!;
        if (node.Outputs[0].Shape is not { } to || node.Inputs[0]!.Shape is not { } from || ReshapeDims.Constant(from, to) is not { } dims)
        {
            return false;
        }

        bool copiesZeros = node.GetInt("allowzero", 0) == 0;
        if (copiesZeros && target.Initializer is { } present && present.ToInt64s().AsSpan().SequenceEqual(dims))
        {
            return false;
        }

        GraphBuilder builder = new(node.OwningGraph, opset, node) { Scope = node.Name + "/" };
        node.SetInput(1, builder.Int64s(dims));
        node.RemoveAttribute("allowzero");
        return true;
    }
}
