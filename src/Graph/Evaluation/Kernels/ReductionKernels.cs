using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Reductions over axes, which are an attribute or an input depending on the opset.</summary>
internal static class ReductionKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("ReduceSum", c => Reduce(c, Sum, (_, v) => Sum(v)));
        registry.Add("ReduceMean", c => Reduce(c, v => Sum(v) / v.Length, (_, v) => v.Length == 0 ? 0 : Sum(v) / v.Length));
        registry.Add("ReduceProd", c => Reduce(c, v => v.Aggregate(1.0, (p, x) => p * x), (_, v) => v.Aggregate(1L, (p, x) => p * x)));
        registry.Add("ReduceMax", c => Reduce(
            c, v => v.Aggregate(double.NegativeInfinity, Math.Max), (t, v) => v.Aggregate(IntegerMath.MinValue(t), (a, b) => IntegerMath.Max(t, a, b))));
        registry.Add("ReduceMin", c => Reduce(
            c, v => v.Aggregate(double.PositiveInfinity, Math.Min), (t, v) => v.Aggregate(IntegerMath.MaxValue(t), (a, b) => IntegerMath.Min(t, a, b))));
        registry.Add("ReduceL1", c => Reduce(c, v => Sum(v.Select(Math.Abs)), (_, v) => Sum(v.Select(x => x < 0 ? -x : x))));
        registry.Add("ReduceL2", c => Reduce(c, v => Math.Sqrt(SumOfSquares(v))));
        registry.Add("ReduceSumSquare", c => Reduce(c, SumOfSquares, (_, v) => Sum(v.Select(x => x * x))));
        registry.Add("ReduceLogSum", c => Reduce(c, v => Math.Log(Sum(v))));
        registry.Add("ReduceLogSumExp", c => Reduce(c, LogSumExp));
    }

    /// <summary><c>log(sum(exp(x)))</c> without overflow.</summary>
    public static double LogSumExp(IReadOnlyCollection<double> values)
    {
        double max = values.Aggregate(double.NegativeInfinity, Math.Max);
        return double.IsInfinity(max) ? max : max + Math.Log(Sum(values.Select(v => Math.Exp(v - max))));
    }

    private static double Sum(IEnumerable<double> values) => values.Aggregate(0.0, (sum, x) => sum + x);

    // Enumerable.Sum would throw on overflow, where runtimes wrap.
    private static long Sum(IEnumerable<long> values) => values.Aggregate(0L, (sum, x) => sum + x);

    private static double SumOfSquares(IEnumerable<double> values) => Sum(values.Select(x => x * x));

    private static ReferenceTensor Reduce(KernelContext c, Func<double[], double> onFloats) =>
        Reduce(c, onFloats, (type, v) => IntegerMath.FromDouble(type, onFloats([.. v.Select(x => IntegerMath.ToDouble(type, x))])));

    private static ReferenceTensor Reduce(KernelContext c, Func<double[], double> onFloats, Func<DataType, long[], long> onIntegers)
    {
        ReferenceTensor x = c.Input(0);
        long[] given = c.GetInts("axes", 1) ?? [];
        bool keepDims = c.GetInt("keepdims", 1) == 1;
        if (given.Length == 0 && c.GetInt("noop_with_empty_axes", 0) == 1)
        {
            return x;
        }

        int[] axes = given.Length == 0 ? [.. Enumerable.Range(0, x.Rank)] : c.Axes(given, x.Rank);
        Lanes lanes = new(x, axes);
        long[] dims = keepDims
            ? [.. x.Dims.Select((d, i) => axes.Contains(i) ? 1 : d)]
            : [.. x.Dims.Where((_, i) => !axes.Contains(i))];
        int[] groups = [.. Enumerable.Range(0, lanes.Groups.Length)];
        return x.IsFloatingPoint
            ? ReferenceTensor.OfFloats(x.ElementType, dims, Array.ConvertAll(groups, g => onFloats(lanes.Read(x.Floats, g))))
            : ReferenceTensor.OfIntegers(x.ElementType, dims, Array.ConvertAll(groups, g => onIntegers(x.ElementType, lanes.Read(x.Integers, g))));
    }
}
