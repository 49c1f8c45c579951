using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.OpsetUpgrade;

/// <summary>Attributes that became inputs.</summary>
internal static class InputUpgrades
{
    /// <summary>Slice 10: bounds and axes.</summary>
    internal static Node Slice(UpgradeContext c)
    {
        c.MoveToInput("starts", 1);
        c.MoveToInput("ends", 2);
        return c.MoveToInput("axes", 3);
    }

    /// <summary>TopK 10: k.</summary>
    internal static Node TopK(UpgradeContext c)
    {
        c.RequireOwn("k");
        c.SetInput(1, c.Builder.Int64s(c.Node.GetInt("k", 1)));
        c.Node.RemoveAttribute("k");
        return c.Node;
    }

    /// <summary>Clip 11: bounds; one that is left out does not bound.</summary>
    internal static Node Clip(UpgradeContext c)
    {
        foreach ((string attribute, int input) in new[] { ("min", 1), ("max", 2) })
        {
            c.RequireOwn(attribute);
            if (c.Node.Attributes.TryGetValue(attribute, out NodeAttribute? bound))
            {
                c.SetInput(input, c.ScalarLikeFirstInput(bound.AsFloat()));
                c.Node.RemoveAttribute(attribute);
            }
        }

        return c.Node;
    }

    /// <summary>Pad 11: pads and the value padded with.</summary>
    internal static Node Pad(UpgradeContext c)
    {
        c.RequireOwn("value");
        c.MoveToInput("pads", 1);
        if (c.Node.Attributes.TryGetValue("value", out NodeAttribute? value))
        {
            c.SetInput(2, c.ScalarLikeFirstInput(value.AsFloat()));
            c.Node.RemoveAttribute("value");
        }

        return c.Node;
    }

    /// <summary>Split 18: equal parts must be asked for by their number.</summary>
    internal static Node SplitCount(UpgradeContext c)
    {
        if (c.Node.InputOrNull(1) is null)
        {
            c.Node.SetAttribute("num_outputs", (long)c.Node.Outputs.Count);
        }

        return c.Node;
    }

    /// <summary>DFT 20: the axis, whose default changed from 1 to the last but one.</summary>
    internal static Node DftAxis(UpgradeContext c)
    {
        c.RequireOwn("axis");
        c.SetInput(2, c.Builder.Scalar(c.Node.GetInt("axis", 1)));
        c.Node.RemoveAttribute("axis");
        return c.Node;
    }
}
