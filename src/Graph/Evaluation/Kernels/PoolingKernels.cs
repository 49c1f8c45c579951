using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Maximum and mean over windows or over whole images.</summary>
internal static class PoolingKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.AddMany("MaxPool", MaxPool);
        registry.Add("AveragePool", AveragePool);
        registry.Add("GlobalAveragePool", c => Global(c, v => v.Sum() / v.Length));
        registry.Add("GlobalMaxPool", c => Global(c, v => v.Aggregate(double.NegativeInfinity, Math.Max)));
    }

    // The second output holds flat indices into the whole input, of the first greatest element of each window.
    private static ReferenceTensor[] MaxPool(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        if (c.GetInt("storage_order", 0) != 0)
        {
            throw c.Unsupported("indices in column-major order");
        }

        SlidingWindow window = WindowOf(c, x);
        int area = Indexing.Count(x.Dims[2..]);
        int images = Indexing.Count(x.Dims[..2]);
        int[] best = new int[images * window.Table.Length];
        ReferenceTensor lowest = x.IsFloatingPoint
            ? ReferenceTensor.OfFloats(x.ElementType, [], double.NegativeInfinity)
            : ReferenceTensor.OfIntegers(x.ElementType, [], IntegerMath.MinValue(x.ElementType));
        for (int i = 0; i < best.Length; i++)
        {
            int start = i / window.Table.Length * area;
            int found = -1;
            foreach (int at in window.Table[i % window.Table.Length].Where(at => at >= 0))
            {
                found = found < 0 || Greater(x, start + at, found) ? start + at : found;
            }

            best[i] = found < 0 ? x.Count : found;
        }

        long[] dims = [.. x.Dims[..2], .. window.Output];
        return [ReferenceTensor.Chain(x, lowest).Take(dims, best), ReferenceTensor.OfIntegers(DataType.Int64, dims, [.. best.Select(b => (long)b)])];
    }

    private static bool Greater(ReferenceTensor x, int a, int b) => x.IsFloatingPoint
        ? x.Floats[a] > x.Floats[b]
        : IntegerMath.Compare(x.ElementType, x.Integers[a], x.Integers[b]) > 0;

    private static ReferenceTensor AveragePool(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        int leastCounted = c.GetInt("count_include_pad", 0) == 1 ? SlidingWindow.Padding : 0;
        SlidingWindow window = WindowOf(c, x);
        int area = Indexing.Count(x.Dims[2..]);
        double[] y = new double[Indexing.Count(x.Dims[..2]) * window.Table.Length];
        for (int i = 0; i < y.Length; i++)
        {
            int start = i / window.Table.Length * area;
            int[] under = window.Table[i % window.Table.Length];
            y[i] = under.Where(at => at >= 0).Sum(at => x.Floats[start + at]) / under.Count(at => at >= leastCounted);
        }

        return ReferenceTensor.OfFloats(x.ElementType, [.. x.Dims[..2], .. window.Output], y);
    }

    private static SlidingWindow WindowOf(KernelContext c, ReferenceTensor x) => SlidingWindow.Forward(
        c, [.. x.Dims[2..]], c.GetInts("kernel_shape") ?? throw c.Error("the attribute kernel_shape is missing"));

    private static ReferenceTensor Global(KernelContext c, Func<double[], double> function)
    {
        ReferenceTensor x = c.Input(0);
        Lanes lanes = new(x, [.. Enumerable.Range(2, x.Rank - 2)]);
        return ReferenceTensor.OfFloats(
            x.ElementType, x.Dims.Select((d, i) => i < 2 ? d : 1), [.. Enumerable.Range(0, lanes.Groups.Length).Select(g => function(lanes.Read(x.Floats, g)))]);
    }
}
