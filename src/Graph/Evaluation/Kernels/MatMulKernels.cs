using System.Numerics;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Matrix products.</summary>
internal static class MatMulKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("MatMul", c => MatMul(c, c.Input(0), c.Input(1)));
        registry.Add("Gemm", Gemm);
    }

    /// <summary>
    /// Product of the last two axes with the others broadcast, as numpy's matmul: a vector on the left counts as
    /// a row, on the right as a column, and the axis goes again.
    /// </summary>
    public static ReferenceTensor MatMul(KernelContext c, ReferenceTensor a, ReferenceTensor b)
    {
        Elementwise.RequireSameType(c, a, b);
        if (a.Rank == 0 || b.Rank == 0)
        {
            throw c.Error("a factor is a scalar; use Mul");
        }

        ReferenceTensor left = a.Rank == 1 ? a.Reshaped([1, a.Dims[0]]) : a;
        ReferenceTensor right = b.Rank == 1 ? b.Reshaped([b.Dims[0], 1]) : b;
        (int m, int k, int n) = ((int)left.Dims[^2], (int)left.Dims[^1], (int)right.Dims[^1]);
        long[]? batch = Indexing.Broadcast(left.Dims[..^2], right.Dims[..^2]);
        if (right.Dims[^2] != k || batch is null)
        {
            throw c.Error($"{a} and {b} do not go together");
        }

        int[] leftBatch = Indexing.BroadcastMap(left.Dims[..^2], batch);
        int[] rightBatch = Indexing.BroadcastMap(right.Dims[..^2], batch);
        IEnumerable<long> dims = [.. batch, .. a.Rank == 1 ? [] : new long[] { m }, .. b.Rank == 1 ? [] : new long[] { n }];
        return a.IsFloatingPoint
            ? ReferenceTensor.OfFloats(a.ElementType, dims, Products<double>(left.Floats.AsSpan(), right.Floats.AsSpan(), leftBatch, rightBatch, m, k, n))
            : ReferenceTensor.OfIntegers(a.ElementType, dims, Products<long>(left.Integers.AsSpan(), right.Integers.AsSpan(), leftBatch, rightBatch, m, k, n));
    }

    private static T[] Products<T>(ReadOnlySpan<T> a, ReadOnlySpan<T> b, int[] aBatch, int[] bBatch, int m, int k, int n)
        where T : struct, INumber<T>
    {
        T[] result = new T[aBatch.Length * m * n];
        for (int batch = 0; batch < aBatch.Length; batch++)
        {
            for (int i = 0; i < m; i++)
            {
                Span<T> row = result.AsSpan(((batch * m) + i) * n, n);
                for (int l = 0; l < k; l++)
                {
                    T factor = a[(((aBatch[batch] * m) + i) * k) + l];
                    ReadOnlySpan<T> other = b.Slice(((bBatch[batch] * k) + l) * n, n);
                    for (int j = 0; j < n; j++)
                    {
                        row[j] += factor * other[j];
                    }
                }
            }
        }

        return result;
    }

    // alpha A' B' + beta C
    private static ReferenceTensor Gemm(KernelContext c)
    {
        ReferenceTensor a = TransposeIf(c, c.Input(0), "transA");
        ReferenceTensor b = TransposeIf(c, c.Input(1), "transB");
        (double alpha, double beta) = (c.GetFloat("alpha", 1), c.GetFloat("beta", 1));
        ReferenceTensor product = Scale(MatMul(c, a, b), alpha);
        if (c.InputOrNull(2) is not { } addend)
        {
            return product;
        }

        ReferenceTensor sum = Elementwise.Zip(c, product, Scale(addend, beta), (x, y) => x + y, (_, x, y) => x + y);
        return sum.Count == product.Count
            ? sum
            : throw c.Error($"the addend {addend} does not broadcast to the product {product}");
    }

    private static ReferenceTensor TransposeIf(KernelContext c, ReferenceTensor x, string attribute)
    {
        if (x.Rank != 2)
        {
            throw c.Error($"{x} is no matrix");
        }

        long[] dims = [x.Dims[1], x.Dims[0]];
        return c.GetInt(attribute, 0) == 0 ? x : x.Take(dims, Indexing.View(dims, [1, x.Dims[1]]));
    }

    private static ReferenceTensor Scale(ReferenceTensor x, double factor) => factor == 1 ? x
        : x.IsFloatingPoint ? Elementwise.Map(x, v => v * factor)
        : Elementwise.MapIntegers(x, v => IntegerMath.FromDouble(x.ElementType, v * factor));
}
