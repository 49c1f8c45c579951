using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>ONNX's own Attention (opset 23 and later): inputs of rank 3 or 4, masks of bools or numbers, past, cap, causality.</summary>
internal static class OnnxAttention
{
    internal static IReadOnlyList<Value?> Rewrite(DecompositionContext c)
    {
        GraphBuilder b = c.Builder;
        bool isFlat = c.Input(0).Shape!.Rank == 3;
        long heads = isFlat ? c.Node.GetInt("q_num_heads", 1) : c.KnownSize(c.Input(0), 1, "the number of query heads");
        long keyValueHeads = isFlat ? c.Node.GetInt("kv_num_heads", 1) : c.KnownSize(c.Input(1), 1, "the number of key/value heads");
        Value query = isFlat ? HeadLayout.Apart(c, c.Input(0), heads) : c.Input(0);
        Value newKey = isFlat ? HeadLayout.Apart(c, c.Input(1), keyValueHeads) : c.Input(1);
        Value newValue = isFlat ? HeadLayout.Apart(c, c.Input(2), keyValueHeads) : c.Input(2);
        Value key = HeadLayout.WithPast(c, c.InputOrNull(4), newKey);
        Value value = HeadLayout.WithPast(c, c.InputOrNull(5), newValue);
        Value? pastLength = key == newKey ? null : c.Shapes.Dimension(c.Input(4), 2);
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
                c.Node.GetInt("is_causal", 0) != 0 ? AttentionMasks.Causal(c, query, key, pastLength) : null,
                c.InputOrNull(6) is { } lengths ? AttentionMasks.Lengths(c, lengths, key) : null,
                c.InputOrNull(3) is { } mask ? Mask(c, mask, key) : null),
        };
        Value output = attention.Emit(c);
        return
        [
            isFlat ? HeadLayout.Together(c, output, heads) : output,
            c.IsRead(1) ? key : null,
            c.IsRead(2) ? value : null,
            c.IsRead(3) ? b.Cast(Scores(c, attention), c.Input(0).ElementType) : null,
        ];
    }

    internal static string? Refusal(Node node) =>
        node.InputOrNull(0)?.Shape is not { Rank: 3 or 4 } shape ? "the rank of its query, which tells whether heads are apart, is not 3 or 4"
        : shape.Rank == 3 && (node.GetInt("q_num_heads", 0) <= 0 || node.GetInt("kv_num_heads", 0) <= 0) ? "its inputs have rank 3, but attributes 'q_num_heads' and 'kv_num_heads' are missing"
        : node.InputOrNull(3) is { Shape: null } mask ? $"the rank of its mask '{mask.Name}' is not known"
        : null;

    // What the fourth output holds: 0 scaled scores, 1 with the mask, 2 with the cap, 3 the softmax.
    private static Value Scores(DecompositionContext c, AttentionCore attention) => c.Node.GetInt("qk_matmul_output_mode", 0) switch
    {
        0 => attention.ScaledScores!,
        1 => attention.BiasedScores!,
        2 => attention.CappedScores!,
        _ => attention.Probabilities!,
    };

    // Bools tell what is open, numbers are added; a last axis that ends early leaves the rest closed (opset 24).
    private static Value Mask(DecompositionContext c, Value mask, Value key) =>
        c.Shared(("mask", mask.Name, DecompositionContext.DimensionKey(key, 2)), () =>
        {
            GraphBuilder b = c.Builder;
            Value addend = mask.ElementType == DataType.Bool ? AttentionMasks.Addend(b, mask, float.MinValue) : b.Cast(mask, DataType.Float);
            return IsShort(mask, key) ? Lengthened(c, addend, key) : addend;
        });

    private static bool IsShort(Value mask, Value key) =>
        mask.Shape![-1].Value is { } last and > 1 && key.Shape?[2].Value is { } total && last < total;

    private static Value Lengthened(DecompositionContext c, Value addend, Value key)
    {
        GraphBuilder b = c.Builder;
        int rank = addend.Shape!.Rank;
        Value missing = b.Sub(c.Shapes.Dimension(key, 2), c.Shapes.Dimension(addend, rank - 1));
        Value pads = b.Concat(0, b.Int64s(new long[(2 * rank) - 1]), missing);
        return b.Op("Pad", [addend, pads, b.Scalar(float.MinValue)]);
    }
}
