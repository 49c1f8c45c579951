using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.OpsetUpgrade;

/// <summary>Batch and group normalization.</summary>
internal static class NormalizationUpgrades
{
    /// <summary>BatchNormalization 9: statistics per channel only.</summary>
    internal static Node DropSpatial(UpgradeContext c)
    {
        if (c.Node.GetInt("spatial", 1) == 0)
        {
            throw c.Refuse("spatial=0, statistics for each element, was dropped in opset 9");
        }

        c.Node.RemoveAttribute("spatial");
        return c.Node;
    }

    /// <summary>
    /// BatchNormalization 14: outputs after the first made the node compute statistics of the batch; since, attribute
    /// training_mode does. Outputs that nobody reads are leftovers of exporters.
    /// </summary>
    internal static Node DropTrainingOutputs(UpgradeContext c)
    {
        if (c.Node.Outputs.Skip(1).FirstOrDefault(o => o.IsUsed) is Value read)
        {
            throw c.Refuse($"output '{read.Name}' is read, so the node runs in training mode, whose outputs changed; export the model in evaluation mode");
        }

        return c.Node.Outputs.Count == 1 ? c.Node : c.ReplaceBy(c.Node.OpType, c.Node.Inputs);
    }

    /// <summary>GroupNormalization 21: scale and bias per channel, [C], instead of per group, [G].</summary>
    internal static Node ScalePerChannel(UpgradeContext c)
    {
        c.RequireOwn("num_groups");
        long groups = c.Node.GetInt("num_groups", 1);
        Value perGroup = c.Input(0).Shape is { Rank: > 1 } shape && shape[1].Value is long channels
            ? c.Builder.Int64s(1, channels / groups)
            : c.Builder.Concat(0, c.Builder.Int64s(1), c.Builder.Div(c.Builder.ShapeOf(c.Input(0), 1, 2), c.Builder.Int64s(groups)));
        foreach (int input in new[] { 1, 2 })
        {
            Value columns = c.Builder.Unsqueeze(c.Input(input), 1);
            c.SetInput(input, c.Builder.Reshape(c.Builder.Expand(columns, perGroup), -1));
        }

        return c.Node;
    }
}
