using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Operators that compare or accumulate elements along one axis.</summary>
internal static class OrderKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("ArgMax", c => ArgBest(c, 1));
        registry.Add("ArgMin", c => ArgBest(c, -1));
        registry.AddMany("TopK", TopK);
        registry.Add("CumSum", CumSum);
        registry.Add("NonZero", NonZero);
    }

    /// <summary>Compares two elements of a numeric tensor; NaN is the greatest, as in numpy's sort.</summary>
    private static Comparison<int> Order(ReferenceTensor x)
    {
        if (x.IsInteger)
        {
            return (a, b) => IntegerMath.Compare(x.ElementType, x.Integers[a], x.Integers[b]);
        }

        ImmutableArray<double> values = x.Floats;
        return (a, b) => double.IsNaN(values[a]) || double.IsNaN(values[b])
            ? double.IsNaN(values[a]).CompareTo(double.IsNaN(values[b]))
            : values[a].CompareTo(values[b]);
    }

    // sign: 1 for the greatest, -1 for the least.
    private static ReferenceTensor ArgBest(KernelContext c, int sign)
    {
        ReferenceTensor x = c.Input(0);
        int axis = c.Axis(c.GetInt("axis", 0), x.Rank);
        bool keepDims = c.GetInt("keepdims", 1) == 1;
        bool last = c.GetInt("select_last_index", 0) == 1;
        Lanes lanes = new(x, axis);
        Comparison<int> order = Order(x);
        long[] result = new long[lanes.Groups.Length];
        for (int g = 0; g < result.Length; g++)
        {
            int best = lanes.Members.Length > 0 ? 0 : throw c.Error($"axis {axis} of {x} is empty");
            for (int m = 1; m < lanes.Members.Length; m++)
            {
                int comparison = sign * order(lanes.Groups[g] + lanes.Members[m], lanes.Groups[g] + lanes.Members[best]);
                best = comparison > 0 || (last && comparison == 0) ? m : best;
            }

            result[g] = best;
        }

        return ReferenceTensor.OfIntegers(DataType.Int64, keepDims ? x.Dims.SetItem(axis, 1) : x.Dims.RemoveAt(axis), result);
    }

    // Equal elements keep the order of their indices.
    private static ReferenceTensor[] TopK(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        int axis = c.Axis(c.GetInt("axis", -1), x.Rank);
        long k = c.GetInts("k", 1) is [long given] ? given : throw c.Error("K must be one number");
        int sign = c.GetInt("largest", 1) == 1 ? -1 : 1;
        if (k < 0 || k > x.Dims[axis])
        {
            throw c.Error($"K is {k}, but axis {axis} of {x} has {x.Dims[axis]} elements");
        }

        Lanes lanes = new(x, axis);
        Comparison<int> order = Order(x);
        ImmutableArray<long> dims = x.Dims.SetItem(axis, k);
        int[] map = new int[Indexing.Count(dims)];
        long[] indices = new long[map.Length];
        Lanes results = new(ReferenceTensor.OfIntegers(DataType.Int64, dims, indices), axis);
        for (int g = 0; g < lanes.Groups.Length; g++)
        {
            int start = lanes.Groups[g];
            Comparer<int> comparer = Comparer<int>.Create((a, b) => sign * order(start + lanes.Members[a], start + lanes.Members[b]));
            int[] ranked = [.. Enumerable.Range(0, lanes.Members.Length).Order(comparer).Take((int)k)];
            for (int m = 0; m < ranked.Length; m++)
            {
                int target = results.Groups[g] + results.Members[m];
                map[target] = start + lanes.Members[ranked[m]];
                indices[target] = ranked[m];
            }
        }

        return [x.Take(dims, map), ReferenceTensor.OfIntegers(DataType.Int64, dims, indices)];
    }

    private static ReferenceTensor CumSum(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        int axis = c.Axis(c.Input(1).ToInteger(), x.Rank);
        bool exclusive = c.GetInt("exclusive", 0) == 1;
        bool reverse = c.GetInt("reverse", 0) == 1;
        Lanes lanes = new(x, axis);
        int[] members = reverse ? [.. lanes.Members.Reverse()] : lanes.Members;
        double[] floats = new double[x.IsFloatingPoint ? x.Count : 0];
        long[] integers = new long[x.IsInteger ? x.Count : 0];
        foreach (int start in lanes.Groups)
        {
            double sum = 0;
            long integerSum = 0;
            foreach (int member in members)
            {
                int at = start + member;
                if (x.IsFloatingPoint)
                {
                    floats[at] = exclusive ? sum : sum + x.Floats[at];
                    sum += x.Floats[at];
                }
                else
                {
                    integers[at] = exclusive ? integerSum : integerSum + x.Integers[at];
                    integerSum += x.Integers[at];
                }
            }
        }

        return x.IsFloatingPoint ? x.WithFloats(floats) : ReferenceTensor.OfIntegers(x.ElementType, x.Dims, integers);
    }

    // [rank, number of non-zero elements]; a scalar counts as a vector of one element.
    private static ReferenceTensor NonZero(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        IReadOnlyList<long> dims = x.Rank == 0 ? [1] : x.Dims;
        long[][] positions = [.. Enumerable.Range(0, x.Count)
            .Where(i => x.IsFloatingPoint ? x.Floats[i] != 0 : x.Integers[i] != 0)
            .Select(i => Indexing.Unravel(i, dims))];
        return ReferenceTensor.OfIntegers(
            DataType.Int64, [dims.Count, positions.Length], [.. Enumerable.Range(0, dims.Count).SelectMany(axis => positions.Select(p => p[axis]))]);
    }
}
