using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.Passes.Decomposition;

/// <summary>Calls of attention operators over their attributes, masks, packings and pasts.</summary>
internal static class AttentionCalls
{
    private const string Ms = "com.microsoft::";

    public static IEnumerable<FusedCall> All => [.. Fused(), .. MultiHead(), .. GroupQuery(), .. Onnx(), .. Rotary()];

    private static FusedCall Attention(string name) => new FusedCall(name, Ms + "Attention")
        .Float("x", "batch=2,length=5,16").Weight("Attention_0_qkv_weight", 16, 48).Weight("Attention_0_qkv_bias", 48).With("num_heads", 2L);

    private static IEnumerable<FusedCall> Fused() =>
    [
        Attention("no mask").Making("y"),
        Attention("causal").With("unidirectional", 1L).Making("y"),
        Attention("scale").With("scale", 0.3f).Making("y"),
        Attention("lengths").Int32("mask", "batch=2", 5, 3).Making("y"),
        Attention("ends and starts").Int32("mask", "double=4", 5, 5, 0, 2).Making("y"),
        Attention("padding mask").Int32("mask", "batch=2,length=5", 1, 1, 1, 1, 1, 1, 1, 1, 0, 0).Making("y"),
        Attention("padding mask on the left, causal").Int32("mask", "batch=2,length=5", 1, 1, 1, 1, 1, 0, 0, 1, 1, 1).With("unidirectional", 1L).Making("y"),
        Attention("mask for each query").Int32("mask", "batch=2,length=5,length=5", [.. Enumerable.Range(0, 50).Select(i => i % 3 == 0 ? 0 : 1)]).Making("y"),
        Attention("filter value").Int32("mask", "batch=2", 5, 3).With("mask_filter_value", -3f).Making("y"),
        Attention("bias on scores").Skip(2).Float("bias", "1,2,length=5,length=5").Making("y"),
        Attention("past and present").Int32("mask", "batch=2,total=8", [.. Enumerable.Repeat(1, 16)]).Float("past", "2,batch=2,2,past=3,8").With("unidirectional", 1L).Making("y, present"),
        new FusedCall("narrow values", Ms + "Attention").Float("x", "batch=2,length=3,16").Weight("w", 16, 40).Weight("b", 40)
            .With("num_heads", 2L).With("qkv_hidden_sizes", (long[])[16, 16, 8]).Making("y"),
        new FusedCall("one module", Ms + "Attention").Float("x", "batch=2,length=3,16").Weight("h.0.attn.c_attn.weight", 16, 48).Weight("h.0.attn.c_attn.bias", 48)
            .With("num_heads", 4L).With("unidirectional", 1L).Making("y"),
    ];

    private static FusedCall MultiHeadOf(string name) => new FusedCall(name, Ms + "MultiHeadAttention").With("num_heads", 2L);

    private static IEnumerable<FusedCall> MultiHead() =>
    [
        MultiHeadOf("apart").Float("q", "batch=2,length=3,16").Float("k", "batch=2,total=5,16").Float("v", "batch=2,total=5,16").Making("y"),
        MultiHeadOf("bias").Float("q", "batch=2,length=3,16").Float("k", "batch=2,total=5,16").Float("v", "batch=2,total=5,16").Weight("b", 48).Making("y"),
        MultiHeadOf("lengths and scale").Float("q", "batch=2,length=3,16").Float("k", "batch=2,total=5,16").Float("v", "batch=2,total=5,16").Skip()
            .Int32("mask", "batch=2", 5, 2).With("scale", 0.5f).Making("y"),
        MultiHeadOf("padding mask and bias on scores").Float("q", "batch=2,length=3,16").Float("k", "batch=2,total=5,16").Float("v", "batch=2,total=5,16").Skip()
            .Int32("mask", "batch=2,total=5", 1, 1, 1, 1, 1, 1, 1, 0, 0, 0).Float("bias", "1,2,length=3,total=5").Making("y"),
        MultiHeadOf("causal with past").Float("q", "batch=2,length=3,16").Float("k", "batch=2,length=3,16").Float("v", "batch=2,length=3,16").Skip(3)
            .Float("pk", "batch=2,2,past=4,8").Float("pv", "batch=2,2,past=4,8").With("unidirectional", 1L).Making("y, pk2, pv2"),
        MultiHeadOf("keys of an encoder").Float("q", "batch=2,length=3,16").Float("k", "batch=2,2,total=5,8").Float("v", "batch=2,2,total=5,8").Making("y"),
    ];

    private static FusedCall GroupQueryOf(string name, string queryWidth = "64") => new FusedCall(name, Ms + "GroupQueryAttention")
        .With("num_heads", 4L).With("kv_num_heads", 2L).Float("q", "batch=2,length=5," + queryWidth);

    private static FusedCall Lengths(FusedCall call) => call.Skip(2).Constant("seqlens", DenseTensor.Vector(4, 4)).Constant("total", DenseTensor.Scalar(5));

    private static FusedCall Apart(FusedCall call) => Lengths(call.Float("k", "batch=2,length=5,32").Float("v", "batch=2,length=5,32"));

    private static FusedCall Tables(FusedCall call, long width = 8) => call.Weight("cos", 12, width).Weight("sin", 12, width).With("do_rotary", 1L);

    private static IEnumerable<FusedCall> GroupQuery() =>
    [
        Apart(GroupQueryOf("apart")).Making("y, pk, pv"),
        Lengths(GroupQueryOf("packed", "128").Skip(2)).Making("y, pk, pv"),
        Apart(GroupQueryOf("window")).With("local_window_size", 2L).Making("y, pk, pv"),
        Apart(GroupQueryOf("cap and scale")).With("softcap", 0.8f).With("scale", 0.7f).Making("y, pk, pv"),
        Tables(Apart(GroupQueryOf("rotary"))).Making("y, pk, pv"),
        Tables(Lengths(GroupQueryOf("rotary, packed, interleaved", "128").Skip(2))).With("rotary_interleaved", 1L).Making("y, pk, pv"),
        Tables(Lengths(GroupQueryOf("rotary of half a head", "256").Skip(2))).Making("y, pk, pv"),
        Tables(Apart(GroupQueryOf("positions"))).Int64("positions", "batch=2,length=5", 0, 1, 2, 3, 4, 0, 1, 2, 3, 4).Making("y, pk, pv"),
        Apart(GroupQueryOf("bias on scores")).Skip(3).Float("bias", "1,4,length=5,length=5").Making("y, pk, pv"),
        Apart(GroupQueryOf("smooth softmax")).With("smooth_softmax", 1L).Making("y, pk, pv"),
        Apart(GroupQueryOf("sinks")).Skip(4).Weight("sink", 4).Making("y, pk, pv"),
        Apart(GroupQueryOf("cap and bias")).Skip(3).Float("bias", "1,4,length=5,length=5").With("softcap", 0.5f).Making("y, pk, pv"),
    ];

    private static FusedCall OnnxOf(string name, long opset = 23) => new(name, "Attention", opset);

    private static FusedCall Heads(FusedCall call) => call.Float("q", "batch=2,4,length=3,8").Float("k", "batch=2,2,total=5,8").Float("v", "batch=2,2,total=5,8");

    private static IEnumerable<FusedCall> Onnx() =>
    [
        Heads(OnnxOf("heads apart, grouped")).Making("y"),
        OnnxOf("heads together").Float("q", "batch=2,length=3,32").Float("k", "batch=2,total=5,16").Float("v", "batch=2,total=5,16").With("q_num_heads", 4L).With("kv_num_heads", 2L).Making("y"),
        Heads(OnnxOf("causal, longer keys")).With("is_causal", 1L).Making("y"),
        Heads(OnnxOf("cap and scale")).With("softcap", 0.7f).With("scale", 0.4f).Making("y"),
        Heads(OnnxOf("bool mask")).Bool("mask", "length=3,total=5", [.. Enumerable.Range(0, 15).Select(i => i % 5 <= i / 5)]).Making("y"),
        Heads(OnnxOf("mask of numbers")).Float("mask", "batch=2,1,length=3,total=5").Making("y"),
        Heads(OnnxOf("past, causal")).Skip().Float("pk", "batch=2,2,past=2,8").Float("pv", "batch=2,2,past=2,8").With("is_causal", 1L).Making("y, pk2, pv2"),
    ];

    private static IEnumerable<FusedCall> Rotary()
    {
        string positions = "batch=2,length=3";
        long[] ids = [0, 1, 2, 4, 5, 6];
        return
        [
            new FusedCall("flat", Ms + "RotaryEmbedding").Float("x", "batch=2,length=3,32").Int64("p", positions, ids).Weight("cos", 9, 4).Weight("sin", 9, 4).Making("y"),
            new FusedCall("flat, half of each head", Ms + "RotaryEmbedding").Float("x", "batch=2,length=3,32").Int64("p", positions, ids).Weight("cos", 9, 4).Weight("sin", 9, 4)
                .With("num_heads", 2L).With("rotary_embedding_dim", 8L).Making("y"),
            new FusedCall("heads apart, interleaved", Ms + "RotaryEmbedding").Float("x", "batch=2,4,length=3,8").Int64("p", positions, ids).Weight("cos", 9, 4).Weight("sin", 9, 4).With("interleaved", 1L).Making("y"),
            new FusedCall("one offset", Ms + "RotaryEmbedding").Float("x", "batch=2,4,length=3,8").Int64("p", "1", 2).Weight("cos", 9, 4).Weight("sin", 9, 4).Making("y"),
            new FusedCall("onnx, positions", "RotaryEmbedding", 23).Float("x", "batch=2,4,length=3,8").Weight("cos", 9, 4).Weight("sin", 9, 4).Int64("p", positions, ids).Making("y"),
            new FusedCall("onnx, rows given, flat", "RotaryEmbedding", 23).Float("x", "batch=2,length=3,32").Float("cos", "batch=2,length=3,4").Float("sin", "batch=2,length=3,4").With("num_heads", 4L).Making("y"),
            new FusedCall("onnx, half of each head, interleaved", "RotaryEmbedding", 23).Float("x", "batch=2,2,length=3,16").Weight("cos", 9, 4).Weight("sin", 9, 4).Int64("p", positions, ids)
                .With("rotary_embedding_dim", 8L).With("interleaved", 1L).Making("y"),
        ];
    }
}
