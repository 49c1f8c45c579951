using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Y = A B over the last two axes: dA = dY B^T, dB = A^T dY, summed over broadcast batch axes by the walk.</summary>
internal static class MatMulGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        int rankA = c.Rank(c.Input(0));
        int rankB = c.Rank(c.Input(1));
        return rankA == 1 || rankB == 1 ? WithVectors(c, rankA, rankB)
            : rankB == 2 ? WithMatrix(c, rankA)
            : Batched(c, rankA, rankB);
    }

    // B is one matrix (a weight): all leading axes of A are rows of a single product. Gemm reads its operand transposed
    // in place, be it a constant (packed once, when the session starts) or a trainable input, where a Transpose node would
    // leave a second copy of a constant weight or make one at each step.
    private static IReadOnlyList<Value?> WithMatrix(GradientContext c, int rankA)
    {
        GraphBuilder b = c.Builder;
        Value a = c.Input(0);
        Value matrix = c.Input(1);
        Value dy = c.OutputGradient;
        Value? untransposed = Untransposed(matrix);
        Value? da = null;
        Value? db = null;
        Value dyRows = rankA == 2 ? dy : Rows(b, dy);
        if (c.NeedsGradient(0))
        {
            da = untransposed is not null
                ? b.Op("Gemm", [dyRows, untransposed])
                : b.Op("Gemm", [dyRows, matrix], ("transB", 1));
            da = c.ReshapeLike(da, a);
        }

        if (c.NeedsGradient(1))
        {
            // If B is a transposed weight W, emit dW = dY^T A and transpose that: the rule of Transpose cancels it.
            Value aRows = rankA == 2 ? a : Rows(b, a);
            db = untransposed is not null
                ? b.Transpose(b.Op("Gemm", [dyRows, aRows], ("transA", 1)), 1, 0)
                : b.Op("Gemm", [aRows, dyRows], ("transA", 1));
            db.Type = matrix.Type;
        }

        return [da, db];
    }

    private static IReadOnlyList<Value?> Batched(GradientContext c, int rankA, int rankB)
    {
        GraphBuilder b = c.Builder;
        Value dy = c.OutputGradient;
        Value? da = null;
        Value? db = null;
        if (c.NeedsGradient(0))
        {
            da = b.MatMul(dy, c.Forms.SwapLastTwo(c.Input(1), rankB));
        }

        if (c.NeedsGradient(1))
        {
            // As with a matrix: if the operand was transposed from rows of its last axis (K^T of attention), multiply in the
            // source's orientation; the rule of Transpose then moves whole rows or nothing at all.
            bool transposed = c.Input(1).Producer is { } producer && producer.Is("Transpose") && producer.GetInts("perm")?[^2] == rankB - 1;
            db = transposed
                ? c.Forms.SwapLastTwo(b.MatMul(c.Forms.SwapLastTwo(dy, c.Rank(dy)), c.Input(0)), c.Rank(dy))
                : b.MatMul(c.Forms.SwapLastTwo(c.Input(0), rankA), dy);
        }

        return [da, db];
    }

    // A vector operand is a matrix of one row or column.
    private static IReadOnlyList<Value?> WithVectors(GradientContext c, int rankA, int rankB)
    {
        GraphBuilder b = c.Builder;
        Value a = rankA == 1 ? b.Unsqueeze(c.Input(0), 0) : c.Input(0);
        Value matrix = rankB == 1 ? b.Unsqueeze(c.Input(1), 1) : c.Input(1);
        Value dy = c.OutputGradient;
        if (rankB == 1)
        {
            dy = b.Unsqueeze(dy, -1);
        }

        if (rankA == 1)
        {
            dy = b.Unsqueeze(dy, -2);
        }

        return c.ForEachNeeded(i => i == 0
            ? c.ReshapeLike(c.SumTo(b.MatMul(dy, c.Forms.SwapLastTwo(matrix, c.Rank(matrix))), a), c.Input(0))
            : c.ReshapeLike(c.SumTo(b.MatMul(c.Forms.SwapLastTwo(a, c.Rank(a)), dy), matrix), c.Input(1)));
    }

    // [.., K] as [rows, K], without a copy.
    private static Value Rows(GraphBuilder b, Value x) => b.Op("Flatten", [x], ("axis", -1));

    private static Value? Untransposed(Value matrix) =>
        matrix.Producer is { } producer && producer.Is("Transpose") && producer.GetInts("perm") is null or [1, 0] ? producer.InputOrNull(0) : null;
}
