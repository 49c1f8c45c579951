using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>
/// com.microsoft MultiHeadAttention: queries, keys and values apart, keys and values packed, all three packed, or keys and
/// values of an encoder kept from before.
/// </summary>
internal static class MultiHeadAttention
{
    internal static IReadOnlyList<Value?> Rewrite(DecompositionContext c)
    {
        GraphBuilder b = c.Builder;
        long heads = c.Node.GetInt("num_heads", 1);
        (Value query, Value newKey, Value newValue) = Operands(c, heads);
        Value key = HeadLayout.WithPast(c, c.InputOrNull(6), newKey);
        Value value = HeadLayout.WithPast(c, c.InputOrNull(7), newValue);
        Value? pastLength = key == newKey ? null : c.Shapes.Dimension(c.Input(6), 2);
        AttentionCore attention = new()
        {
            Query = query,
            Key = key,
            Value = value,
            Heads = heads,
            KeyValueHeads = heads,
            Scale = c.Node.GetFloat("scale", 0),
            Bias = AttentionMasks.Sum(
                c,
                c.InputOrNull(4) is { } mask ? AttentionMasks.Padding(c, mask, query, key, pastLength) : null,
                c.Node.GetInt("unidirectional", 0) != 0 ? AttentionMasks.Causal(c, query, key, pastLength) : null,
                AttentionMasks.Bias(c, c.InputOrNull(5))),
        };
        Value output = HeadLayout.Together(c, attention.Emit(c), heads);
        return
        [
            output,
            c.IsRead(1) ? key : null,
            c.IsRead(2) ? value : null,
            c.IsRead(3) ? b.Cast(attention.BiasedScores!, c.Node.Outputs[3].ElementType is var type and not DataType.Undefined ? type : query.ElementType) : null,
        ];
    }

    internal static string? Refusal(Node node) =>
        node.InputOrNull(8) is not null || node.InputOrNull(9) is not null ? "past and present share a buffer (past_sequence_length, cache_indirection), so that the past has no length of its own. Export without buffer sharing"
        : node.InputOrNull(0)?.Shape is not { Rank: 3 or 5 } ? "the rank of its query, which tells how query, key and value are packed, is not 3 or 5"
        : node.InputOrNull(1) is { Shape: not { Rank: 3 or 4 or 5 } } ? "the rank of its key, which tells how key and value are packed, is not 3, 4 or 5"
        : node.InputOrNull(3) is not null && BiasWidths(node) is null ? "the widths of its bias are not known"
        : AttentionMasks.Refusal(node.InputOrNull(4));

    private static (Value Query, Value Key, Value Value) Operands(DecompositionContext c, long heads)
    {
        Value?[] bias = c.InputOrNull(3) is { } vector ? [.. c.Split(vector, 0, BiasWidths(c.Node)!)] : [null, null, null];
        Value query = c.Input(0);
        if (c.InputOrNull(1) is not { } key)
        {
            return query.Shape!.Rank == 5 ? AllPacked(c, query, bias, heads) : AllInARow(c, query, bias, heads);
        }

        query = HeadLayout.Apart(c, c.AddIfGiven(query, bias[0]), heads);
        switch (key.Shape!.Rank)
        {
            case 4:
                return (query, key, c.Input(2));
            case 5:
                IReadOnlyList<Value> packed = Unpacked(c, key, 2);
                return (query, packed[0], packed[1]);
            default:
                return (query, HeadLayout.Apart(c, c.AddIfGiven(key, bias[1]), heads), HeadLayout.Apart(c, c.AddIfGiven(c.Input(2), bias[2]), heads));
        }
    }

    // [batch, length, heads, 3, size], the bias [3 * heads * size] being three vectors one after the other.
    private static (Value Query, Value Key, Value Value) AllPacked(DecompositionContext c, Value packed, Value?[] bias, long heads)
    {
        Value[] parts = [.. Unpacked(c, packed, 3).Select((x, i) => bias[i] is { } vector ? c.Builder.Add(x, c.Builder.Reshape(vector, 1, heads, 1, -1)) : x)];
        return (parts[0], parts[1], parts[2]);
    }

    private static (Value Query, Value Key, Value Value) AllInARow(DecompositionContext c, Value packed, Value?[] bias, long heads)
    {
        long width = c.KnownSize(packed, 2, "the width of the packed query") / 3;
        Value[] parts = [.. c.Split(packed, -1, width, width, width).Select((x, i) => HeadLayout.Apart(c, c.AddIfGiven(x, bias[i]), heads))];
        return (parts[0], parts[1], parts[2]);
    }

    // [batch, length, heads, parts, size] to that many [batch, heads, length, size].
    private static IReadOnlyList<Value> Unpacked(DecompositionContext c, Value packed, int parts)
    {
        long[] ones = [.. Enumerable.Repeat(1L, parts)];
        return [.. c.Split(packed, 3, ones).Select(x => c.Builder.Transpose(c.Builder.Squeeze(x, 3), 0, 2, 1, 3))];
    }

    private static long[]? BiasWidths(Node node)
    {
        if (node.InputOrNull(3)?.Shape is not [{ Value: { } all }] || node.Inputs[0]?.Shape is not { } query)
        {
            return null;
        }

        long? width = query.Rank == 5 ? query[2].Value * query[4].Value : node.InputOrNull(1) is null ? all / 3 : query[2].Value;
        return width is { } w ? [w, w, all - (2 * w)] : null;
    }
}
