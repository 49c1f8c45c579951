using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>Rows of the cosine and sine tables for the positions of a call; layers share them.</summary>
internal static class RotaryTables
{
    /// <summary>Emits the rows, broadcast over heads.</summary>
    /// <param name="c">The call.</param>
    /// <param name="cos">[max length, rotated size / 2].</param>
    /// <param name="sin">As <paramref name="cos"/>.</param>
    /// <param name="positions">[batch, length]; [1], the position of the first token; or null for positions from 0.</param>
    /// <param name="x">What is rotated.</param>
    /// <param name="lengthAxis">Axis of <paramref name="x"/> that counts tokens.</param>
    /// <returns>[length, rotated size / 2] or [batch, 1, length, rotated size / 2].</returns>
    internal static (Value Cos, Value Sin) At(DecompositionContext c, Value cos, Value sin, Value? positions, Value x, int lengthAxis) =>
        (Rows(c, cos, positions, x, lengthAxis), Rows(c, sin, positions, x, lengthAxis));

    private static Value Rows(DecompositionContext c, Value table, Value? positions, Value x, int lengthAxis) =>
        c.Shared(("rotary", table.Name, positions?.Name, DecompositionContext.DimensionKey(x, lengthAxis)), () =>
        {
            GraphBuilder b = c.Builder;
            Value length = c.Shapes.Dimension(x, lengthAxis);
            if (positions is null)
            {
                return c.Slice(table, 0, b.Int64s(0), length);
            }

            if (positions.Shape is { Rank: 1 })
            {
                Value first = b.Cast(positions, DataType.Int64);
                return c.Slice(table, 0, first, b.Add(first, length));
            }

            return b.Unsqueeze(b.Op("Gather", [table, positions], ("axis", 0L)), 1);
        });
}
