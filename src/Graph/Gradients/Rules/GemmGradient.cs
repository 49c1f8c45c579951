using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// Y = alpha A' B' + beta C, where A' and B' may be transposed: dA' = alpha dY B'^T, dB' = alpha A'^T dY, dC = beta dY. Each
/// gradient is one Gemm in the operand's own orientation.
/// </summary>
internal static class GemmGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        float alpha = c.Node.GetFloat("alpha", 1);
        bool transA = c.Node.GetInt("transA", 0) != 0;
        bool transB = c.Node.GetInt("transB", 0) != 0;
        Value a = c.Input(0);
        Value b = c.Input(1);
        Value dy = c.OutputGradient;
        return c.ForEachNeeded(i => i switch
        {
            0 => transA ? Product(b, dy, transB, true) : Product(dy, b, false, !transB),
            1 => transB ? Product(dy, a, true, transA) : Product(a, dy, !transA, false),
            _ => c.Builder.Mul(c.SumTo(dy, c.Input(2)), c.Node.GetFloat("beta", 1)),
        });

        Value Product(Value left, Value right, bool transposeLeft, bool transposeRight) => c.Builder.Op(
            "Gemm", [left, right], ("alpha", alpha), ("transA", transposeLeft ? 1 : 0), ("transB", transposeRight ? 1 : 0));
    }
}
