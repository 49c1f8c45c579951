using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Comparisons, bool operators and selection by a condition.</summary>
internal static class LogicKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("Equal", Equal);
        registry.Add("Less", c => Compare(c, (a, b) => a < b, order => order < 0));
        registry.Add("LessOrEqual", c => Compare(c, (a, b) => a <= b, order => order <= 0));
        registry.Add("Greater", c => Compare(c, (a, b) => a > b, order => order > 0));
        registry.Add("GreaterOrEqual", c => Compare(c, (a, b) => a >= b, order => order >= 0));

        registry.Add("And", c => Binary(c, (a, b) => a & b));
        registry.Add("Or", c => Binary(c, (a, b) => a | b));
        registry.Add("Xor", c => Binary(c, (a, b) => a ^ b));
        registry.Add("Not", c => Elementwise.MapIntegers(c.Input(0), x => 1 - x));

        registry.Add("IsNaN", c => Test(c.Input(0), double.IsNaN));
        registry.Add("IsInf", IsInf);
        registry.Add("Where", Where);
    }

    private static ReferenceTensor Equal(KernelContext c) => !c.Input(0).IsString
        ? Compare(c, (a, b) => a == b, order => order == 0)
        : Align(c, (a, b, i, j) => a.Strings[i].Span.SequenceEqual(b.Strings[j].Span));

    // NaN compares false with everything, hence the separate comparison of floating-point numbers.
    private static ReferenceTensor Compare(KernelContext c, Func<double, double, bool> onFloats, Func<int, bool> onOrder) => c.Input(0).IsFloatingPoint
        ? Align(c, (a, b, i, j) => onFloats(a.Floats[i], b.Floats[j]))
        : Align(c, (a, b, i, j) => onOrder(IntegerMath.Compare(a.ElementType, a.Integers[i], b.Integers[j])));

    private static ReferenceTensor Binary(KernelContext c, Func<long, long, long> function) =>
        Elementwise.Zip(c, c.Input(0), c.Input(1), (_, _) => throw c.Error("inputs must be bool"), (_, a, b) => function(a, b));

    private static ReferenceTensor Align(KernelContext c, Func<ReferenceTensor, ReferenceTensor, int, int, bool> test)
    {
        (ReferenceTensor a, ReferenceTensor b) = (c.Input(0), c.Input(1));
        Elementwise.RequireSameType(c, a, b);
        (long[] dims, int[] fromA, int[] fromB) = Elementwise.Align(c, a, b);
        bool[] result = new bool[fromA.Length];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = test(a, b, fromA[i], fromB[i]);
        }

        return ReferenceTensor.OfBools(dims, result);
    }

    private static ReferenceTensor Test(ReferenceTensor x, Func<double, bool> test) =>
        ReferenceTensor.OfBools(x.Dims, [.. x.Floats.Select(test)]);

    private static ReferenceTensor IsInf(KernelContext c)
    {
        bool positive = c.GetInt("detect_positive", 1) == 1;
        bool negative = c.GetInt("detect_negative", 1) == 1;
        return Test(c.Input(0), x => (positive && double.IsPositiveInfinity(x)) || (negative && double.IsNegativeInfinity(x)));
    }

    private static ReferenceTensor Where(KernelContext c)
    {
        (ReferenceTensor condition, ReferenceTensor a, ReferenceTensor b) = (c.Input(0), c.Input(1), c.Input(2));
        if (condition.ElementType != DataType.Bool)
        {
            throw c.Error($"the condition must be bool, not {condition.ElementType.OnnxName()}");
        }

        Elementwise.RequireSameType(c, a, b);
        long[] dims = c.Broadcast(condition, a, b);
        int[] choice = Indexing.BroadcastMap(condition.Dims, dims);
        int[] fromA = Indexing.BroadcastMap(a.Dims, dims);
        int[] fromB = Indexing.BroadcastMap(b.Dims, dims);
        int[] map = new int[choice.Length];
        for (int i = 0; i < map.Length; i++)
        {
            map[i] = condition.Integers[choice[i]] != 0 ? fromA[i] : a.Count + fromB[i];
        }

        return ReferenceTensor.Chain(a, b).Take(dims, map);
    }
}
