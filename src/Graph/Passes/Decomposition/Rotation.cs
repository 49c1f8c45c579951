using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>Rotary position embedding, written as exporters of plain graphs write it.</summary>
internal static class Rotation
{
    /// <summary>
    /// Emits <c>x * cos + turned(x) * sin</c> over the first channels of a head; the rest passes. Turned is
    /// <c>(-x2, x1)</c> for the two halves, or for each pair where real and imaginary parts alternate.
    /// </summary>
    /// <param name="c">The call.</param>
    /// <param name="x">[batch, heads, length, size].</param>
    /// <param name="cos">Broadcast to [batch, heads, length, rotated size]; see <see cref="RotaryTables"/>.</param>
    /// <param name="sin">As <paramref name="cos"/>.</param>
    /// <param name="isInterleaved">Whether real and imaginary parts alternate.</param>
    internal static Value Apply(DecompositionContext c, Value x, Value cos, Value sin, bool isInterleaved)
    {
        GraphBuilder b = c.Builder;
        long size = c.KnownSize(x, 3, "the head size");
        long rotated = 2 * c.KnownSize(cos, cos.Shape?.Rank - 1 ?? 0, "the width of the rotary tables");
        (cos, sin) = (Both(c, cos, isInterleaved), Both(c, sin, isInterleaved));
        Value part = rotated < size ? c.Slice(x, 3, 0, rotated) : x;
        Value sum = b.Add(b.Mul(part, cos), b.Mul(isInterleaved ? TurnedPairs(c, part) : TurnedHalves(c, part, rotated), sin));
        return rotated < size ? b.Concat(-1, sum, c.Slice(x, 3, rotated, size)) : sum;
    }

    private static Value TurnedHalves(DecompositionContext c, Value x, long size) =>
        c.Builder.Concat(-1, c.Builder.Neg(c.Slice(x, 3, size / 2, size)), c.Slice(x, 3, 0, size / 2));

    private static Value TurnedPairs(DecompositionContext c, Value x)
    {
        GraphBuilder b = c.Builder;
        Value pairs = b.Reshape(x, 0, 0, 0, -1, 2);
        Value turned = b.Concat(-1, b.Neg(c.Slice(pairs, 4, 1, 2)), c.Slice(pairs, 4, 0, 1));
        return c.Shapes.ReshapeLike(turned, x);
    }

    // One angle serves both channels of a pair: the table twice side by side, or each entry twice.
    private static Value Both(DecompositionContext c, Value table, bool isInterleaved) => c.Shared(("both", table.Name, isInterleaved), () =>
    {
        GraphBuilder b = c.Builder;
        if (!isInterleaved)
        {
            return b.Concat(-1, table, table);
        }

        Value column = b.Unsqueeze(table, -1);
        long[] dims = [.. Enumerable.Repeat(0L, table.Shape!.Rank - 1), -1];
        return b.Reshape(b.Concat(-1, column, column), dims);
    });
}
