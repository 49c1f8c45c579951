using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Copies of a tensor with elements or slices replaced, or combined, at given indices.</summary>
internal static class ScatterKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("ScatterElements", ScatterElements);
        registry.Add("ScatterND", ScatterND);
    }

    private static ReferenceTensor ScatterElements(KernelContext c)
    {
        (ReferenceTensor data, ReferenceTensor indices, ReferenceTensor updates) = (c.Input(0), c.Input(1), c.Input(2));
        if (!updates.Dims.SequenceEqual(indices.Dims))
        {
            throw c.Error($"the updates {updates} do not have the shape of the indices {indices}");
        }

        int axis = c.Axis(c.GetInt("axis", 0), data.Rank);
        return Scatter(c, data, GatherKernels.ElementsAlongAxis(c, data, indices, axis), updates);
    }

    private static ReferenceTensor ScatterND(KernelContext c)
    {
        (ReferenceTensor data, ReferenceTensor indices, ReferenceTensor updates) = (c.Input(0), c.Input(1), c.Input(2));
        int[] targets = GatherKernels.SlicesByTuple(c, data, indices, 0);
        return updates.Count == targets.Length
            ? Scatter(c, data, targets, updates)
            : throw c.Error($"the updates {updates} do not fit the indices {indices} into {data}");
    }

    // Updates apply in order, so that of several to one place the last wins, or all are combined.
    private static ReferenceTensor Scatter(KernelContext c, ReferenceTensor data, int[] targets, ReferenceTensor updates)
    {
        Elementwise.RequireSameType(c, data, updates);
        string reduction = c.GetString("reduction", "none");
        if (reduction == "none")
        {
            int[] map = [.. Enumerable.Range(0, data.Count)];
            for (int i = 0; i < targets.Length; i++)
            {
                map[targets[i]] = data.Count + i;
            }

            return ReferenceTensor.Chain(data, updates).Take(data.Dims, map);
        }

        (Func<double, double, double> onFloats, Func<DataType, long, long, long> onIntegers) = Reduction(c, reduction);
        if (data.IsFloatingPoint)
        {
            double[] floats = [.. data.Floats];
            for (int i = 0; i < targets.Length; i++)
            {
                floats[targets[i]] = onFloats(floats[targets[i]], updates.Floats[i]);
            }

            return data.WithFloats(floats);
        }

        long[] integers = [.. data.Integers];
        for (int i = 0; i < targets.Length; i++)
        {
            integers[targets[i]] = onIntegers(data.ElementType, integers[targets[i]], updates.Integers[i]);
        }

        return ReferenceTensor.OfIntegers(data.ElementType, data.Dims, integers);
    }

    private static (Func<double, double, double> OnFloats, Func<DataType, long, long, long> OnIntegers) Reduction(KernelContext c, string name) => name switch
    {
        "add" => ((a, b) => a + b, (_, a, b) => a + b),
        "mul" => ((a, b) => a * b, (_, a, b) => a * b),
        "max" => (Math.Max, IntegerMath.Max),
        "min" => (Math.Min, IntegerMath.Min),
        _ => throw c.Error($"reduction is '{name}'; it must be none, add, mul, max or min"),
    };
}
