using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Applies a function to every element, with numpy's broadcasting.</summary>
internal static class Elementwise
{
    public static ReferenceTensor Map(ReferenceTensor x, Func<double, double> function)
    {
        double[] result = new double[x.Count];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = function(x.Floats[i]);
        }

        return x.WithFloats(result);
    }

    public static ReferenceTensor MapIntegers(ReferenceTensor x, Func<long, long> function)
    {
        long[] result = new long[x.Count];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = function(x.Integers[i]);
        }

        return ReferenceTensor.OfIntegers(x.ElementType, x.Dims, result);
    }

    /// <summary>A function of two tensors of one type; integer results wrap to the type's range.</summary>
    public static ReferenceTensor Zip(
        KernelContext c, ReferenceTensor a, ReferenceTensor b, Func<double, double, double> onFloats, Func<DataType, long, long, long> onIntegers)
    {
        RequireSameType(c, a, b);
        (long[] dims, int[] fromA, int[] fromB) = Align(c, a, b);
        if (a.IsFloatingPoint)
        {
            double[] result = new double[fromA.Length];
            for (int i = 0; i < result.Length; i++)
            {
                result[i] = onFloats(a.Floats[fromA[i]], b.Floats[fromB[i]]);
            }

            return ReferenceTensor.OfFloats(a.ElementType, dims, result);
        }

        long[] integers = new long[fromA.Length];
        for (int i = 0; i < integers.Length; i++)
        {
            integers[i] = onIntegers(a.ElementType, a.Integers[fromA[i]], b.Integers[fromB[i]]);
        }

        return ReferenceTensor.OfIntegers(a.ElementType, dims, integers);
    }

    public static (long[] Dims, int[] FromA, int[] FromB) Align(KernelContext c, ReferenceTensor a, ReferenceTensor b)
    {
        long[] dims = c.Broadcast(a, b);
        return (dims, Indexing.BroadcastMap(a.Dims, dims), Indexing.BroadcastMap(b.Dims, dims));
    }

    public static void RequireSameType(KernelContext c, ReferenceTensor a, ReferenceTensor b)
    {
        if (a.ElementType != b.ElementType)
        {
            throw c.Error($"inputs of types {a.ElementType.OnnxName()} and {b.ElementType.OnnxName()} do not go together; insert a Cast");
        }
    }
}
