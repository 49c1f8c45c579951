using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>com.microsoft Attention: the projections to queries, keys and values by one weight, then attention.</summary>
internal static class FusedAttention
{
    internal static IReadOnlyList<Value?> Rewrite(DecompositionContext c)
    {
        GraphBuilder b = c.Builder;
        long heads = c.Node.GetInt("num_heads", 1);
        Value[] qkv = [.. Project(c, c.Input(0)).Select(x => HeadLayout.Apart(c, x, heads))];
        (Value? pastKey, Value? pastValue) = Past(c);
        Value key = HeadLayout.WithPast(c, pastKey, qkv[1]);
        Value value = HeadLayout.WithPast(c, pastValue, qkv[2]);
        Value? pastLength = key == qkv[1] ? null : c.Shapes.Dimension(pastKey!, 2);
        AttentionCore attention = new()
        {
            Query = qkv[0],
            Key = key,
            Value = value,
            Heads = heads,
            KeyValueHeads = heads,
            Scale = c.Node.GetFloat("scale", 0),
            Bias = AttentionMasks.Sum(
                c,
                c.InputOrNull(3) is { } mask ? AttentionMasks.Padding(c, mask, qkv[0], key, pastLength) : null,
                c.Node.GetInt("unidirectional", 0) != 0 ? AttentionMasks.Causal(c, qkv[0], key, pastLength) : null,
                AttentionMasks.Bias(c, c.InputOrNull(5))),
        };
        Value output = HeadLayout.Together(c, attention.Emit(c), heads);
        Value? present = c.IsRead(1) ? b.Concat(0, b.Unsqueeze(key, 0), b.Unsqueeze(value, 0)) : null;
        return [output, present];
    }

    internal static string? Refusal(Node node) =>
        node.GetInt("do_rotary", 0) != 0 ? "it rotates queries and keys itself (do_rotary), by a table that the operator keeps to itself. Export with RotaryEmbedding or GroupQueryAttention instead"
        : node.GetInt("past_present_share_buffer", 0) != 0 && node.InputOrNull(4) is not null ? "past and present share a buffer (past_present_share_buffer), so that the past has no length of its own. Export without buffer sharing"
        : FusedQkv.Widths(node) is null ? "the widths of queries, keys and values are not known. Export the weight as an initializer"
        : AttentionMasks.Refusal(node.InputOrNull(3));

    /// <summary>Emits queries, keys and values [..., width] of an input [..., in].</summary>
    internal static IReadOnlyList<Value> Project(DecompositionContext c, Value input)
    {
        GraphBuilder b = c.Builder;
        long[] widths = FusedQkv.Widths(c.Node)!;
        Value weight = c.Input(1);
        if (!FusedQkv.IsSplit(c.Node))
        {
            Value all = c.AddIfGiven(c.Standing(b.MatMul(input, weight)), c.InputOrNull(2));
            return c.Split(all, -1, widths);
        }

        List<Value> parts = [];
        string[] modules = FusedQkv.ModulePaths(c.Node);
        long start = 0;
        foreach ((long width, string module) in widths.Zip(modules))
        {
            Value part = Named(b.MatMul(input, c.Slice(weight, 1, start, start + width)), module);
            parts.Add(c.InputOrNull(2) is { } bias ? Named(b.Add(part, c.Slice(bias, 0, start, start + width)), module) : part);
            start += width;
        }

        return parts;
    }

    private static Value Named(Value made, string module)
    {
        made.Producer!.Metadata[FusedQkv.ModuleKey] = module;
        return made;
    }

    // [2, batch, heads, length, size], null if there is none or its length is zero.
    private static (Value? Key, Value? Value) Past(DecompositionContext c)
    {
        if (c.InputOrNull(4) is not { } past || (past.Shape is { Rank: 5 } shape && shape[3].Value == 0))
        {
            return (null, null);
        }

        IReadOnlyList<Value> halves = c.Split(past, 0, 1, 1);
        return (c.Builder.Squeeze(halves[0], 0), c.Builder.Squeeze(halves[1], 0));
    }
}
