using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.Passes.Decomposition;

/// <summary>Calls of fused norms, activations and products.</summary>
internal static class LayerCalls
{
    private const string Ms = "com.microsoft::";

    public static IEnumerable<FusedCall> All => [.. Norms(), .. Activations(), .. Products(), .. Quantized()];

    private static IEnumerable<FusedCall> Norms() =>
    [
        new FusedCall("plain", Ms + "SkipLayerNormalization").Float("x", "batch=2,length=3,8").Float("s", "batch=2,length=3,8").Weight("g", 8).Weight("b", 8).Making("y"),
        new FusedCall("bias, sum", Ms + "SkipLayerNormalization").Float("x", "batch=2,length=3,8").Float("s", "batch=2,length=3,8").Weight("g", 8).Weight("b", 8).Weight("c", 8)
            .With("epsilon", 1e-3f).Making("y, _, _, sum"),
        new FusedCall("no beta, skip without batch", Ms + "SkipLayerNormalization").Float("x", "batch=2,length=3,8").Float("s", "length=3,8").Weight("g", 8).Making("y, _, _, sum"),
        new FusedCall("plain", Ms + "SkipSimplifiedLayerNormalization").Float("x", "batch=2,length=3,8").Float("s", "batch=2,length=3,8").Weight("g", 8).With("epsilon", 1e-5f).Making("y, _, _, sum"),
        new FusedCall("bias", Ms + "SkipSimplifiedLayerNormalization").Float("x", "batch=2,length=3,8").Float("s", "batch=2,length=3,8").Weight("g", 8).Weight("c", 8).Making("y"),
        new FusedCall("opset 23", Ms + "SkipSimplifiedLayerNormalization", 23).Float("x", "batch=2,length=3,8").Float("s", "batch=2,length=3,8").Weight("g", 8).Making("y"),
        Embeddings("mask, segments").Int32("segments", "batch=2,length=3", 0, 0, 1, 1, 0, 0).Tables(true).Int32("mask", "batch=2,length=3", 1, 1, 1, 1, 1, 0).Making("y, lengths, sum"),
        Embeddings("no segments, positions").Skip().Tables(false).Skip().Int32("positions", "batch=2,length=3", 2, 1, 0, 0, 1, 2).With("epsilon", 1e-5f).Making("y, lengths"),
    ];

    private static FusedCall Embeddings(string name) => new FusedCall(name, Ms + "EmbedLayerNormalization").Int32("ids", "batch=2,length=3", 1, 4, 2, 0, 3, 3);

    private static FusedCall Tables(this FusedCall call, bool segments)
    {
        call.Weight("words", 6, 8).Weight("places", 4, 8);
        return (segments ? call.Weight("kinds", 2, 8) : call.Skip()).Weight("gamma", 8).Weight("beta", 8);
    }

    private static IEnumerable<FusedCall> Activations() =>
    [
        new FusedCall("plain", Ms + "Gelu").Float("x", "batch=2,6").Making("y"),
        new FusedCall("plain", Ms + "BiasGelu").Float("x", "batch=2,6").Weight("b", 6).Making("y"),
        new FusedCall("bias", Ms + "FastGelu").Float("x", "batch=2,6").Weight("b", 6).Making("y"),
        new FusedCall("no bias", Ms + "FastGelu").Float("x", "batch=2,6").Making("y"),
        new FusedCall("alpha", Ms + "QuickGelu").Float("x", "batch=2,6").With("alpha", 1.1f).Making("y"),
    ];

    private static IEnumerable<FusedCall> Products() =>
    [
        new FusedCall("alpha", Ms + "FusedMatMul").Float("a", "batch=2,3,4").Weight("b", 4, 5).With("alpha", 0.5f).Making("y"),
        new FusedCall("both transposed", Ms + "FusedMatMul").Float("a", "batch=2,4,3").Float("b", "batch=2,5,4").With("transA", 1L).With("transB", 1L).Making("y"),
        new FusedCall("batch moved", Ms + "FusedMatMul").Float("a", "3,2,4").Float("b", "2,5,4").With("transBatchA", 1L).With("transB", 1L).Making("y"),
        new FusedCall("relu", Ms + "FusedGemm").Float("a", "batch=2,4").Weight("b", 5, 4).Weight("c", 5).With("transB", 1L).With("activation", "Relu").Making("y"),
        new FusedCall("leaky", Ms + "FusedGemm").Float("a", "batch=2,4").Weight("b", 4, 5).With("alpha", 0.5f).With("activation", "LeakyRelu").With("activation_alpha", 0.2f).Making("y"),
        new FusedCall("tanh", Ms + "FusedConv").Float("x", "batch=2,3,5,5").Weight("w", 4, 3, 3, 3).Weight("b", 4).With("activation", "Tanh").With("pads", (long[])[1, 1, 1, 1]).Making("y"),
    ];

    private static FusedCall BlocksOf(string name, long bits, long width, long block, string input = "batch=2,length=3,") => new FusedCall(name, Ms + "MatMulNBits")
        .Float("x", input + width).Bytes("w", 6, (width + block - 1) / block, block * bits / 8).Weight("scales", 6 * ((width + block - 1) / block))
        .With("K", width).With("N", 6L).With("bits", bits).With("block_size", block).With("accuracy_level", 1L).Within(1e-5);

    private static IEnumerable<FusedCall> Quantized() =>
    [
        BlocksOf("4 bits", 4, 64, 32).Making("y"),
        BlocksOf("4 bits, zero points", 4, 64, 32).Bytes("zeros", 6).Making("y"),
        BlocksOf("4 bits, odd number of blocks, zero points", 4, 48, 16).Bytes("zeros", 12).Making("y"),
        BlocksOf("4 bits, last block not full", 4, 40, 32).Making("y"),
        BlocksOf("4 bits, zero points of numbers", 4, 64, 32).Weight("zeros", 12).Making("y"),
        BlocksOf("8 bits", 8, 64, 32, "batch=2,").Making("y"),
        BlocksOf("8 bits, zero points, bias", 8, 64, 32).Bytes("zeros", 12).Skip().Weight("bias", 6).Making("y"),
        new FusedCall("4 bits", Ms + "GatherBlockQuantized").Bytes("table", 7, 16).Int64("ids", "batch=2,length=3", 0, 6, 2, 1, 5, 5).Weight("scales", 7, 2)
            .With("bits", 4L).With("block_size", 16L).With("quantize_axis", 1L).Making("y"),
        new FusedCall("8 bits, zero points", Ms + "GatherBlockQuantized").Bytes("table", 7, 32).Int64("ids", "batch=2,length=3", 0, 6, 2, 1, 5, 5).Weight("scales", 7, 2)
            .Bytes("zeros", 7, 2).With("bits", 8L).With("block_size", 16L).With("quantize_axis", 1L).Making("y"),
        new FusedCall("int4", Ms + "GatherBlockQuantized").Constant("table", new DenseTensor(DataType.Int4, [7, 32], Enumerable.Range(0, 112).Select(i => (byte)(i * 37)).ToArray()))
            .Int64("ids", "length=3", 0, 6, 2).Weight("scales", 7, 2).With("block_size", 16L).With("quantize_axis", 1L).Making("y"),
    ];
}
