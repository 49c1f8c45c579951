using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.OpsetUpgrade;

/// <summary>Resampling: defaults of coordinates and rounding changed.</summary>
internal static class ResizeUpgrades
{
    /// <summary>Upsample 9: scales as input.</summary>
    internal static Node ScalesToInput(UpgradeContext c)
    {
        c.RequireOwn("scales");
        if (c.Node.Attributes.TryGetValue("scales", out NodeAttribute? scales))
        {
            c.SetInput(1, c.Builder.Constant(DenseTensor.Vector([.. scales.AsFloats()])));
            c.Node.RemoveAttribute("scales");
        }

        return c.Node;
    }

    /// <summary>
    /// Resize 11: an input for the region came second; coordinates were scaled without offset, and the nearest
    /// neighbour was taken by rounding down when enlarging and up when reducing.
    /// </summary>
    internal static Node FromOpset10(UpgradeContext c)
    {
        string mode = c.Node.GetString("mode", "nearest");
        Value scales = c.Input(1);
        if (mode == "nearest")
        {
            c.Node.SetAttribute("nearest_mode", Rounding(c, scales));
        }

        c.Node.SetAttribute("coordinate_transformation_mode", "asymmetric");
        c.SetInput(2, scales);
        c.SetInput(1, null);
        return c.Node;
    }

    /// <summary>RoiAlign 16: coordinates are shifted by half a pixel unless asked otherwise.</summary>
    internal static Node RoiAlign(UpgradeContext c)
    {
        c.Node.SetAttribute("coordinate_transformation_mode", "output_half_pixel");
        return c.Node;
    }

    /// <summary>GridSample 20: modes were renamed.</summary>
    internal static Node GridSample(UpgradeContext c)
    {
        c.RequireOwn("mode");
        c.Node.SetAttribute("mode", c.Node.GetString("mode", "bilinear") switch
        {
            "bilinear" => "linear",
            "bicubic" => "cubic",
            string mode => mode,
        });
        return c.Node;
    }

    private static string Rounding(UpgradeContext c, Value scales)
    {
        if (!scales.IsConstant || scales.ElementType != DataType.Float)
        {
            throw c.Refuse("the rounding of its nearest neighbours depends on scales that are computed");
        }

        float[] factors = scales.Initializer!.ToFloats();
        return Array.TrueForAll(factors, f => f >= 1) ? "floor"
            : Array.TrueForAll(factors, f => f <= 1) ? "ceil"
            : throw c.Refuse($"it enlarges some axes and reduces others ([{string.Join(", ", factors)}]), which round differently");
    }
}
