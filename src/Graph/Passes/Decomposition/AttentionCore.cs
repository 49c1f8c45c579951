using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>
/// Scaled dot-product attention with plain operators: <c>softmax(cap(scale * q k^T) + bias) v</c>. Scores, bias and
/// softmax are fp32 whatever q, k and v are. Query heads that share a key/value head become rows of one product, so that
/// keys and values are not copied.
/// </summary>
internal sealed class AttentionCore
{
    /// <summary>[batch, heads, length, size].</summary>
    internal required Value Query { get; init; }

    /// <summary>[batch, key/value heads, total, size].</summary>
    internal required Value Key { get; init; }

    /// <summary>[batch, key/value heads, total, value size].</summary>
    internal required Value Value { get; init; }

    /// <summary>Number of query heads.</summary>
    internal required long Heads { get; init; }

    /// <summary>Number of key/value heads; a divisor of <see cref="Heads"/>.</summary>
    internal required long KeyValueHeads { get; init; }

    /// <summary>Factor of the scores; 0 for one over the square root of the head size.</summary>
    internal double Scale { get; init; }

    /// <summary>Bounds scores to (-cap, cap) by tanh; 0 for no bound.</summary>
    internal double SoftCap { get; init; }

    /// <summary>fp32, broadcast to [batch, heads, length, total] and added to the scores; masks are part of it.</summary>
    internal Value? Bias { get; init; }

    /// <summary>fp32 [batch or 1, heads or 1, 1 or length, 1]: a further score that takes its share of the softmax and has no value.</summary>
    internal Value? Sink { get; init; }

    /// <summary>The scores after scaling, cap and bias, before softmax; set by <see cref="Emit"/>.</summary>
    internal Value? BiasedScores { get; private set; }

    /// <summary>The scores after scaling alone; set by <see cref="Emit"/>.</summary>
    internal Value? ScaledScores { get; private set; }

    /// <summary>The scores after the cap; set by <see cref="Emit"/>.</summary>
    internal Value? CappedScores { get; private set; }

    /// <summary>The softmax; set by <see cref="Emit"/>.</summary>
    internal Value? Probabilities { get; private set; }

    /// <summary>Emits the attention.</summary>
    /// <returns>[batch, heads, length, value size], of the element type of the values.</returns>
    internal Value Emit(DecompositionContext c)
    {
        GraphBuilder b = c.Builder;
        bool isGrouped = Heads != KeyValueHeads;
        double scale = Scale != 0 ? Scale : 1 / Math.Sqrt(c.KnownSize(Query, 3, "the head size"));

        // [batch, heads, length, size] and [batch, kv heads, heads per kv head * length, size] lie in memory alike.
        Value query = b.Mul(Query, scale);
        query = isGrouped ? b.Reshape(query, 0, KeyValueHeads, -1, 0) : query;
        Value scores = b.MatMul(query, b.Transpose(Key, 0, 1, 3, 2));
        scores = isGrouped ? b.Reshape(scores, 0, Heads, -1, 0) : scores;
        ScaledScores = scores = b.Cast(scores, DataType.Float);
        if (SoftCap > 0)
        {
            scores = b.Mul(b.Op("Tanh", [b.Mul(scores, 1 / SoftCap)]), SoftCap);
        }

        CappedScores = scores;
        BiasedScores = scores = c.AddIfGiven(scores, Bias);
        Probabilities = Softmax(c, scores);
        Value weights = b.Cast(Probabilities, Value.ElementType);
        Value result = b.MatMul(isGrouped ? b.Reshape(weights, 0, KeyValueHeads, -1, 0) : weights, Value);
        return isGrouped ? b.Reshape(result, 0, Heads, -1, 0) : result;
    }

    private Value Softmax(DecompositionContext c, Value scores)
    {
        GraphBuilder b = c.Builder;
        if (Sink is null)
        {
            return b.Op("Softmax", [scores], ("axis", -1L));
        }

        Value column = b.Expand(Sink, b.Concat(0, c.Shapes.Dimension(scores, 0), b.Int64s(Heads), c.Shapes.Dimension(scores, 2), b.Int64s(1)));
        Value all = b.Op("Softmax", [b.Concat(-1, scores, column)], ("axis", -1L));
        return b.Op("Slice", [all, b.Int64s(0), b.Int64s(-1), b.Int64s(-1)]);
    }
}
