using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>
/// Operators of ONNX Runtime's packing mode, in which the tokens of a batch stand one behind another without padding.
/// Attention spreads them out again, one sequence a row, and gathers the result.
/// </summary>
internal static class PackedSequences
{
    // input [tokens, in], weights, bias, token offsets [batch, length], cumulative lengths [batch + 1], attention bias
    internal static IReadOnlyList<Value?> PackedAttention(DecompositionContext c) =>
        [Attend(c, [.. FusedAttention.Project(c, c.Input(0))], c.Input(3), c.Input(4), c.InputOrNull(5))];

    // query, key, value [tokens, width], bias, token offsets, cumulative lengths, attention bias
    internal static IReadOnlyList<Value?> PackedMultiHeadAttention(DecompositionContext c)
    {
        GraphBuilder b = c.Builder;
        Value query = c.Input(0);
        Value[] operands = query.Shape is { Rank: 4 }
            ? [.. c.Split(query, 2, 1, 1, 1).Select(x => b.Reshape(b.Squeeze(x, 2), 0, -1))]
            : [query, c.Input(1), c.Input(2)];
        if (c.InputOrNull(3) is { } bias)
        {
            long[] widths = [.. operands.Select(o => c.KnownSize(o, 1, "the width of an operand"))];
            operands = [.. operands.Zip(c.Split(bias, 0, widths), b.Add)];
        }

        return [Attend(c, operands, c.Input(4), c.Input(5), c.InputOrNull(6))];
    }

    internal static string? RefuseAttention(Node node) => FusedQkv(node) ? null : "the widths of queries, keys and values are not known. Export the weight as an initializer";

    // x [batch, length, width], tokens a row [batch]; outputs tokens, their offsets and then those of padding, cumulative lengths, the longest
    internal static IReadOnlyList<Value?> RemovePadding(DecompositionContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        Value counts = c.Input(1);
        Value positions = b.Unsqueeze(c.Count(c.Shapes.Dimension(x, 1)), 0);
        Value isToken = b.Reshape(b.Op("Less", [positions, b.Unsqueeze(b.Cast(counts, DataType.Int64), 1)]), -1);
        Value tokens = b.Reshape(b.Op("NonZero", [isToken]), -1);
        Value padding = b.Reshape(b.Op("NonZero", [b.Op("Not", [isToken])]), -1);
        Value packed = b.Op("Gather", [b.Reshape(x, -1, c.KnownSize(x, 2, "the width of the input")), tokens], ("axis", 0L));
        Value offsets = b.Reshape(b.Concat(0, tokens, padding), b.Concat(0, c.Shapes.Dimension(x, 0), c.Shapes.Dimension(x, 1)));
        Value sums = b.Op("CumSum", [counts, b.Scalar(0)]);
        return
        [
            packed,
            c.IsRead(1) ? b.Cast(offsets, DataType.Int32) : null,
            c.IsRead(2) ? b.Concat(0, b.Constant(DenseTensor.Vector(0)), sums) : null,
            c.IsRead(3) ? b.Op("ReduceMax", [counts, b.Int64s(0)], ("keepdims", 1L)) : null,
        ];
    }

    // tokens [tokens, width], offsets [batch, length]; padding becomes zero
    internal static IReadOnlyList<Value?> RestorePadding(DecompositionContext c)
    {
        GraphBuilder b = c.Builder;
        Value tokens = c.Input(0);
        Value offsets = c.Input(1);
        Value places = TokenPlaces(c, offsets, tokens);
        Value rows = b.Op("Size", [offsets]);
        Value empty = b.Expand(b.ScalarLike(tokens, 0), b.Concat(0, b.Reshape(rows, 1), c.Shapes.Dimension(tokens, 1)));
        Value spread = b.Op("ScatterND", [empty, b.Unsqueeze(places, 1), tokens]);
        return [b.Reshape(spread, b.Concat(0, b.ShapeOf(offsets), c.Shapes.Dimension(tokens, 1)))];
    }

    private static bool FusedQkv(Node node) => Linears.FusedQkv.Widths(node) is not null;

    // Which places of the padded batch the tokens take: the first offsets, as many as there are tokens.
    private static Value TokenPlaces(DecompositionContext c, Value offsets, Value tokens) =>
        c.Builder.Cast(c.Slice(c.Builder.Reshape(offsets, -1), 0, c.Builder.Int64s(0), c.Shapes.Dimension(tokens, 0)), DataType.Int64);

    private static Value Attend(DecompositionContext c, Value[] operands, Value offsets, Value cumulative, Value? attentionBias)
    {
        GraphBuilder b = c.Builder;
        long heads = c.Node.GetInt("num_heads", 1);
        Value length = c.Shared(("packed length", offsets.Name), () => b.ShapeOf(offsets, 1, 2));
        Value starts = c.Shared(("packed starts", cumulative.Name), () => b.Cast(c.Slice(cumulative, 0, 0, -1), DataType.Int64));
        Value counts = c.Shared(("packed counts", cumulative.Name), () => b.Sub(b.Cast(c.Slice(cumulative, 0, 1, long.MaxValue), DataType.Int64), starts));
        Value positions = c.Shared(("packed positions", offsets.Name), () => c.Count(length));
        Value rows = c.Shared(("packed rows", cumulative.Name, offsets.Name), () =>
        {
            // What stands behind a sequence's end is closed by the mask: any token will do.
            Value last = b.Sub(c.Shapes.Dimension(operands[0], 0), b.Int64s(1));
            return b.Op("Min", [b.Add(b.Unsqueeze(starts, 1), b.Unsqueeze(positions, 0)), last]);
        });
        Value closed = c.Shared(("packed mask", cumulative.Name, offsets.Name), () =>
            AttentionMasks.Addend(b, b.Op("Less", [positions, b.Unsqueeze(counts, 1, 2, 3)]), float.MinValue));
        Value[] apart = [.. operands.Select(x => HeadLayout.Apart(c, b.Op("Gather", [x, rows], ("axis", 0L)), heads))];
        AttentionCore attention = new()
        {
            Query = apart[0],
            Key = apart[1],
            Value = apart[2],
            Heads = heads,
            KeyValueHeads = heads,
            Scale = c.Node.GetFloat("scale", 0),
            Bias = AttentionMasks.Sum(c, closed, AttentionMasks.Bias(c, attentionBias)),
        };
        Value together = HeadLayout.Together(c, attention.Emit(c), heads);
        Value flat = b.Reshape(together, -1, c.KnownSize(operands[2], 1, "the width of the values"));
        return b.Op("Gather", [flat, TokenPlaces(c, offsets, operands[0])], ("axis", 0L));
    }
}
