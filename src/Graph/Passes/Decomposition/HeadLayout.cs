using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>Between [batch, length, heads * size], as projections give it, and [batch, heads, length, size].</summary>
internal static class HeadLayout
{
    /// <summary>Emits [batch, heads, length, size] of [batch, length, heads * size].</summary>
    internal static Value Apart(DecompositionContext c, Value x, long heads) =>
        c.Builder.Transpose(c.Builder.Reshape(x, 0, 0, heads, HeadSize(x, heads) ?? -1), 0, 2, 1, 3);

    /// <summary>Emits [batch, length, heads * size] of [batch, heads, length, size].</summary>
    internal static Value Together(DecompositionContext c, Value x, long heads) =>
        c.Builder.Reshape(c.Builder.Transpose(x, 0, 2, 1, 3), 0, 0, x.Shape?[3].Value is { } size ? heads * size : -1);

    /// <summary>Emits past and new keys or values one behind the other along the length; a past without length is left out.</summary>
    internal static Value WithPast(DecompositionContext c, Value? past, Value present) =>
        past is null || past.Shape is { Rank: 4 } shape && shape[2].Value == 0 ? present : c.Builder.Concat(2, past, present);

    private static long? HeadSize(Value x, long heads) => x.Shape?[2].Value is { } width ? width / heads : null;
}
