using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>
/// Masks of every form that ONNX Runtime's attention operators take, as fp32 addends of the scores. Layers share them.
/// </summary>
internal static class AttentionMasks
{
    private const double Lowest = float.MinValue;

    /// <summary>
    /// The addend [length, total] that closes what lies ahead of a query, and what lies further back than a window. A query's
    /// position is its index plus the length of the past.
    /// </summary>
    /// <param name="c">The call.</param>
    /// <param name="query">[batch, heads, length, size].</param>
    /// <param name="key">[batch, heads, total, size].</param>
    /// <param name="past">Length of the past, int64 [1]; null for none.</param>
    /// <param name="isCausal">Whether what lies ahead is closed.</param>
    /// <param name="window">How many positions a query sees, its own included; 0 or less for all.</param>
    internal static Value Causal(DecompositionContext c, Value query, Value key, Value? past, bool isCausal = true, long window = -1)
    {
        GraphBuilder b = c.Builder;
        object name = ("causal", DecompositionContext.DimensionKey(query, 2), DecompositionContext.DimensionKey(key, 2), past?.Name, isCausal, window);
        return c.Shared(name, () =>
        {
            Value rows = c.Count(c.Shapes.Dimension(query, 2));
            rows = b.Unsqueeze(past is null ? rows : b.Add(rows, past), 1);
            Value columns = c.Count(c.Shapes.Dimension(key, 2));
            Value? open = isCausal ? b.Op("GreaterOrEqual", [rows, columns]) : null;
            if (window > 0)
            {
                Value near = b.Op("Less", [b.Sub(rows, columns), b.Scalar(window)]);
                open = open is null ? near : b.Op("And", [open, near]);
            }

            return Addend(b, open!, Lowest);
        });
    }

    /// <summary>
    /// The addend that a mask of com.microsoft.Attention or MultiHeadAttention stands for: lengths [batch]; ends and starts
    /// [2 * batch]; lengths, query and key starts [3 * batch + 2]; open positions [batch, total], [batch, length, total]
    /// or [batch, 1, max, max].
    /// </summary>
    /// <param name="c">The call.</param>
    /// <param name="mask">Integers.</param>
    /// <param name="query">[batch, heads, length, size].</param>
    /// <param name="key">[batch, heads, total, size].</param>
    /// <param name="past">Length of the past, int64 [1]; null for none.</param>
    internal static Value Padding(DecompositionContext c, Value mask, Value query, Value key, Value? past)
    {
        double filter = c.Node.GetFloat("mask_filter_value", -10000);
        object name = (mask.Name, DecompositionContext.DimensionKey(query, 2), DecompositionContext.DimensionKey(key, 2), past?.Name, filter);
        return c.Shared(name, () => Addend(c.Builder, Open(c, mask, query, key, past), filter));
    }

    /// <summary>The addend [batch, 1, 1, total] that closes what lies at or behind a length given for each row.</summary>
    internal static Value Lengths(DecompositionContext c, Value lengths, Value key) =>
        c.Shared(("lengths", lengths.Name, DecompositionContext.DimensionKey(key, 2)), () => Addend(c.Builder, Ends(c, lengths, key), Lowest));

    /// <summary>Emits a bias in fp32; null for none.</summary>
    internal static Value? Bias(DecompositionContext c, Value? bias) =>
        bias is null ? null : bias.ElementType == DataType.Float ? bias : c.Shared(("bias", bias.Name), () => c.Builder.Cast(bias, DataType.Float));

    /// <summary>Emits the sum of the addends that are there; null for none. Layers with the same addends share it.</summary>
    internal static Value? Sum(DecompositionContext c, params IEnumerable<Value?> addends) => addends.OfType<Value>().ToArray() switch
    {
        [] => null,
        var given => given.Aggregate((a, x) => c.Shared(("sum", a.Name, x.Name), () => c.Builder.Add(a, x))),
    };

    /// <summary>Emits 0 where open and a number elsewhere.</summary>
    internal static Value Addend(GraphBuilder b, Value open, double closed) => b.Where(open, b.Scalar(0f), b.Scalar((float)closed));

    /// <summary>Why a mask cannot be read, or null.</summary>
    internal static string? Refusal(Value? mask) => mask is null || mask.Shape is { Rank: >= 1 and <= 4 }
        ? null
        : $"the rank of its mask '{mask.Name}', which tells what the mask means, is {(mask.Shape is null ? "not known" : $"{mask.Shape.Rank} instead of 1 to 4")}";

    private static Value Open(DecompositionContext c, Value mask, Value query, Value key, Value? past)
    {
        GraphBuilder b = c.Builder;
        Value Positive(Value x) => b.Op("Greater", [x, b.ScalarLike(x, 0)]);
        return mask.Shape!.Rank switch
        {
            1 => FromLengths(c, mask, query, key),
            2 => b.Unsqueeze(Positive(mask), 1, 2),
            3 => b.Unsqueeze(Positive(mask), 1),
            _ => Positive(Corner(c, mask, query, key, past)),
        };
    }

    private static Value FromLengths(DecompositionContext c, Value mask, Value query, Value key)
    {
        GraphBuilder b = c.Builder;
        Dimension batch = query.Shape?[0] ?? Dimension.Unknown;
        Value rows = c.Shapes.Dimension(query, 0);
        Value ends = c.Slice(mask, 0, b.Int64s(0), rows);
        Value open = Ends(c, ends, key);
        if (mask.Shape![0].IsSameAs(batch) || mask.Shape[0].IsSameAs(ThreeTimesAndTwo(batch)))
        {
            return open;
        }

        // Whether the second half, the starts, is there shows at run time only: zeros stand in for it.
        Value padded = b.Concat(0, mask, b.Expand(b.ScalarLike(mask, 0), rows));
        Value starts = c.Slice(padded, 0, rows, b.Mul(rows, b.Int64s(2)));
        Value columns = b.Cast(c.Count(c.Shapes.Dimension(key, 2)), mask.ElementType);
        return b.Op("And", [open, b.Op("GreaterOrEqual", [columns, b.Unsqueeze(starts, 1, 2, 3)])]);
    }

    private static Dimension ThreeTimesAndTwo(Dimension batch) =>
        ((batch.ToExpression() * SymbolicExpression.Of(3)) + SymbolicExpression.Of(2)).ToDimensionOrUnknown();

    private static Value Ends(DecompositionContext c, Value ends, Value key) =>
        c.Builder.Op("Less", [c.Builder.Cast(c.Count(c.Shapes.Dimension(key, 2)), ends.ElementType), c.Builder.Unsqueeze(ends, 1, 2, 3)]);

    // Megatron's square mask for the longest sequence: the rows of the queries behind the past, the columns of all keys.
    private static Value Corner(DecompositionContext c, Value mask, Value query, Value key, Value? past)
    {
        GraphBuilder b = c.Builder;
        Value first = past ?? b.Int64s(0);
        Value rows = c.Slice(mask, 2, first, b.Add(first, c.Shapes.Dimension(query, 2)));
        return c.Slice(rows, 3, b.Int64s(0), c.Shapes.Dimension(key, 2));
    }
}
