namespace OrtQLoRA.Graph.Passes.OpsetUpgrade;

/// <summary>
/// Every change of an operator between opset 7 and 21 that alters what a node means or how it is written. Changes that
/// only allow more types or add attributes and inputs with defaults are not listed.
/// </summary>
internal static class UpgradeTable
{
    internal static IReadOnlyList<UpgradeRule> Rules { get; } =
    [
        new("BatchNormalization", 9, NormalizationUpgrades.DropSpatial),
        new("Scan", 9, c => throw c.Refuse("Scan of opset 8 has a batch axis of its own")),
        new("Upsample", 9, ResizeUpgrades.ScalesToInput),

        new("Dropout", 10, DropoutUpgrades.MaskToBool),
        new("Slice", 10, InputUpgrades.Slice),
        new("TopK", 10, InputUpgrades.TopK),
        new("Upsample", 10, c => c.ReplaceBy("Resize", c.Node.Inputs)),

        new("Clip", 11, InputUpgrades.Clip),
        new("Pad", 11, InputUpgrades.Pad),
        new("Resize", 11, ResizeUpgrades.FromOpset10),
        new("Scatter", 11, c => c.ReplaceBy("ScatterElements", c.Node.Inputs)),

        new("Dropout", 12, DropoutUpgrades.RatioToInput),

        new("Hardmax", 13, SoftmaxUpgrades.FromFlattened),
        new("LogSoftmax", 13, SoftmaxUpgrades.FromFlattened),
        new("ReduceSum", 13, c => c.MoveToInput("axes", 1)),
        new("Softmax", 13, SoftmaxUpgrades.FromFlattened),
        new("Split", 13, c => c.MoveToInput("split", 1)),
        new("Squeeze", 13, c => c.MoveToInput("axes", 1)),
        new("Unsqueeze", 13, c => c.MoveToInput("axes", 1)),

        new("BatchNormalization", 14, NormalizationUpgrades.DropTrainingOutputs),

        new("RoiAlign", 16, ResizeUpgrades.RoiAlign),

        new("ReduceL1", 18, c => c.MoveToInput("axes", 1)),
        new("ReduceL2", 18, c => c.MoveToInput("axes", 1)),
        new("ReduceLogSum", 18, c => c.MoveToInput("axes", 1)),
        new("ReduceLogSumExp", 18, c => c.MoveToInput("axes", 1)),
        new("ReduceMax", 18, c => c.MoveToInput("axes", 1)),
        new("ReduceMean", 18, c => c.MoveToInput("axes", 1)),
        new("ReduceMin", 18, c => c.MoveToInput("axes", 1)),
        new("ReduceProd", 18, c => c.MoveToInput("axes", 1)),
        new("ReduceSumSquare", 18, c => c.MoveToInput("axes", 1)),
        new("Split", 18, InputUpgrades.SplitCount),

        new("DFT", 20, InputUpgrades.DftAxis),
        new("GridSample", 20, ResizeUpgrades.GridSample),

        new("GroupNormalization", 21, NormalizationUpgrades.ScalePerChannel),
    ];
}
