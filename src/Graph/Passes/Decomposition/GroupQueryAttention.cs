using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>
/// com.microsoft GroupQueryAttention of a first prompt, that is without past: packed or separate operands, normalization of
/// queries and keys, rotation, causal or local attention, cap, bias and sinks. Rows are padded on the right: what lies
/// behind a row's length is ahead of every token that counts, so that only attention without causality has to look at the lengths.
/// </summary>
internal static class GroupQueryAttention
{
    internal static IReadOnlyList<Value?> Rewrite(DecompositionContext c)
    {
        GraphBuilder b = c.Builder;
        long heads = c.Node.GetInt("num_heads", 1);
        long keyValueHeads = c.Node.GetInt("kv_num_heads", 1);
        (Value query, Value key, Value value) = Operands(c, heads, keyValueHeads);
        if (c.InputOrNull(14) is { } queryNorm)
        {
            float epsilon = c.Node.GetFloat("qk_norm_epsilon", 1e-6f);
            query = FusedNormalizations.RmsNorm(c, query, queryNorm, epsilon);
            key = FusedNormalizations.RmsNorm(c, key, c.Input(15), epsilon);
        }

        if (c.Node.GetInt("do_rotary", 0) != 0)
        {
            (Value cos, Value sin) = RotaryTables.At(c, c.Input(7), c.Input(8), c.InputOrNull(9), query, lengthAxis: 2);
            bool isInterleaved = c.Node.GetInt("rotary_interleaved", 0) != 0;
            query = Rotation.Apply(c, query, cos, sin, isInterleaved);
            key = Rotation.Apply(c, key, cos, sin, isInterleaved);
        }

        bool isCausal = c.Node.GetInt("causal", 1) != 0;
        long window = c.Node.GetInt("local_window_size", -1);
        AttentionCore attention = new()
        {
            Query = query,
            Key = key,
            Value = value,
            Heads = heads,
            KeyValueHeads = keyValueHeads,
            Scale = c.Node.GetFloat("scale", 0),
            SoftCap = c.Node.GetFloat("softcap", 0),
            Bias = AttentionMasks.Sum(
                c,
                isCausal ? AttentionMasks.Causal(c, query, key, null, isCausal, window) : AttentionMasks.Lengths(c, TokenCounts(c), key),
                AttentionMasks.Bias(c, c.InputOrNull(10))),
            Sink = Sink(c, heads),
        };
        Value output = HeadLayout.Together(c, attention.Emit(c), heads);
        return [output, c.IsRead(1) ? key : null, c.IsRead(2) ? value : null];
    }

    internal static string? Refusal(Node node) =>
        HasPast(node, 3) || HasPast(node, 4) ? "it has a past. Training starts from an empty cache: inputs named past* are taken out before; name the cache inputs so"
        : node.OutputOrNull(3)?.IsUsed == true ? "its scores (output_qk) are read. Take the reader out"
        : node.InputOrNull(12) is not null || node.InputOrNull(13) is not null ? "its cache is quantized (k_scale, v_scale), which has no gradient. Export with a float cache"
        : node.InputOrNull(0)?.Shape is not { Rank: 3 } shape || shape[2].Value is null ? "the width of its query is not known. Export the model with static hidden sizes"
        : node.GetInt("do_rotary", 0) != 0 && (node.InputOrNull(7) is null || node.InputOrNull(8) is null) ? "it rotates (do_rotary) but has no tables cos_cache and sin_cache"
        : null;

    private static bool HasPast(Node node, int input) => node.InputOrNull(input) is { } past && !(past.Shape is { Rank: 4 } shape && shape[2].Value == 0);

    private static (Value Query, Value Key, Value Value) Operands(DecompositionContext c, long heads, long keyValueHeads)
    {
        Value query = c.Input(0);
        if (c.InputOrNull(1) is { } key)
        {
            return (HeadLayout.Apart(c, query, heads), HeadLayout.Apart(c, key, keyValueHeads), HeadLayout.Apart(c, c.Input(2), keyValueHeads));
        }

        long size = c.KnownSize(query, 2, "the width of the packed query") / (heads + (2 * keyValueHeads));
        IReadOnlyList<Value> parts = c.Split(query, -1, heads * size, keyValueHeads * size, keyValueHeads * size);
        return (HeadLayout.Apart(c, parts[0], heads), HeadLayout.Apart(c, parts[1], keyValueHeads), HeadLayout.Apart(c, parts[2], keyValueHeads));
    }

    // seqlens_k is one less than each row's number of tokens.
    private static Value TokenCounts(DecompositionContext c)
    {
        Value last = c.Input(5);
        return c.Shared(("counts", last.Name), () => c.Builder.Add(c.Builder.Reshape(last, -1), c.Builder.ScalarLike(last, 1)));
    }

    private static Value? Sink(DecompositionContext c, long heads)
    {
        GraphBuilder b = c.Builder;
        return c.InputOrNull(11) is { } sink ? b.Reshape(b.Cast(sink, DataType.Float), 1, heads, 1, 1)
            : c.Node.GetInt("smooth_softmax", 0) != 0 ? b.Constant(DenseTensor.Of([1, 1, 1, 1], [0f]))
            : null;
    }
}
