using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.OpsetUpgrade;

/// <summary>
/// Softmax, LogSoftmax and Hardmax 13. Before, the input was flattened to a matrix at the axis (default 1) and rows
/// were normalized; since, one axis (default the last) is.
/// </summary>
internal static class SoftmaxUpgrades
{
    internal static Node? FromFlattened(UpgradeContext c)
    {
        c.RequireOwn("axis");
        long axis = c.Node.GetInt("axis", 1);
        int? rank = c.Input(0).Shape?.Rank;

        // Both agree on the last axis. A negative axis was allowed from opset 11 on.
        if (axis == -1 || axis == rank - 1 || rank == 1)
        {
            c.Node.SetAttribute("axis", -1L);
            return c.Node;
        }

        // Above the node: flatten. Below it: bring its result back to the shape. The node itself makes the rows.
        Value x = c.Input(0);
        Value rows = c.Builder.Op("Flatten", [x], ("axis", axis));
        Value normalized = c.Builder.Op(c.Node.OpType, [rows], ("axis", -1L));
        Value result = c.Builder.Reshape(normalized, c.Builder.ShapeOf(x));
        result.Producer!.SetAttribute("allowzero", 1L);
        NodeReplacement.Replace(c.Node, result);
        return null;
    }
}
