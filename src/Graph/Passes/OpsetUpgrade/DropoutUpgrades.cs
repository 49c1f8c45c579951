using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.OpsetUpgrade;

/// <summary>Dropout: outside training it passes its input on, in every version.</summary>
internal static class DropoutUpgrades
{
    /// <summary>Dropout 10: the mask was of the data's type before and is bool since.</summary>
    internal static Node MaskToBool(UpgradeContext c)
    {
        if (c.Node.OutputOrNull(1) is { IsUsed: true })
        {
            throw c.Refuse("its mask is read, which has another type since opset 10");
        }

        return c.Node;
    }

    /// <summary>Dropout 12: the ratio is an input; without the input training_mode it goes on dropping nothing.</summary>
    internal static Node RatioToInput(UpgradeContext c)
    {
        c.RequireOwn("ratio");
        c.SetInput(1, c.Builder.Scalar(c.Node.GetFloat("ratio", 0.5f)));
        c.Node.RemoveAttribute("ratio");
        return c.Node;
    }
}
