using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Matrix products.</summary>
internal static class MatrixRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(MatMul, "MatMul");
        registry.Add(MatMulInteger, "MatMulInteger");
        registry.Add(QLinearMatMul, "QLinearMatMul");
        registry.Add(Gemm, "Gemm");
        registry.AddTo(OperatorDomains.Microsoft, Gemm, "FusedGemm");
        registry.Add(EinsumRule.Infer, "Einsum");
    }

    /// <summary>Shape of the product of two stacks of matrices, with NumPy's rules for vectors; null if a rank is unknown.</summary>
    /// <exception cref="GraphException">Inner dimensions differ or the stacks do not broadcast.</exception>
    internal static Shape? ProductShape(OperatorCall call, Shape? left, Shape? right, int rightInput = 1)
    {
        if (left is null || right is null)
        {
            return null;
        }

        if (left.Rank == 0 || right.Rank == 0)
        {
            throw call.Error($"input {(left.Rank == 0 ? 0 : rightInput)} is a scalar; a matrix product needs rank 1 or more");
        }

        call.RequireEqual(left[^1], right.Rank == 1 ? right[0] : right[^2], "the inner dimensions of the product");
        Shape batch = DimensionAlgebra.Broadcast(call, new Shape(left.SkipLast(2)), new Shape(right.SkipLast(2)));
        return new Shape([.. batch, .. left.Rank == 1 ? [] : new[] { left[^2] }, .. right.Rank == 1 ? [] : new[] { right[^1] }]);
    }

    private static void MatMul(OperatorCall call) =>
        call.Set(0, call.CommonType(0, 1), ProductShape(call, call.ShapeOf(0), call.ShapeOf(1)));

    private static void MatMulInteger(OperatorCall call) =>
        call.Set(0, DataType.Int32, ProductShape(call, call.ShapeOf(0), call.ShapeOf(1)));

    private static void QLinearMatMul(OperatorCall call) =>
        call.Set(0, call.TypeOf(7), ProductShape(call, call.ShapeOf(0), call.ShapeOf(3), rightInput: 3));

    private static void Gemm(OperatorCall call)
    {
        DataType type = call.CommonType(0, 1, 2);
        call.RequireRank(0, 2);
        call.RequireRank(1, 2);
        Dimension rows = Dimension.Unknown;
        Dimension columns = Dimension.Unknown;
        bool transA = call.Node.GetInt("transA", 0) != 0;
        bool transB = call.Node.GetInt("transB", 0) != 0;
        Shape? a = call.ShapeOf(0);
        Shape? b = call.ShapeOf(1);
        if (a is not null && b is not null)
        {
            call.RequireEqual(a[transA ? 0 : 1], b[transB ? 1 : 0], "the inner dimensions of the product");
        }

        call.Set(0, type, new Shape(a is null ? rows : a[transA ? 1 : 0], b is null ? columns : b[transB ? 0 : 1]));
    }
}
