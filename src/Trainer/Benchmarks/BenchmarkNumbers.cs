using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Benchmarks;

/// <summary>Made-up tensors: the same ones in every run.</summary>
internal static class BenchmarkNumbers
{
    /// <summary>Floats between -<paramref name="size"/> and <paramref name="size"/>.</summary>
    internal static DenseTensor Floats(double size, params long[] dims)
    {
        Random random = new(dims.Length);
        float[] values = new float[dims.Aggregate(1L, (n, d) => n * d)];
        foreach (ref float value in values.AsSpan())
        {
            value = (float)(((2 * random.NextDouble()) - 1) * size);
        }

        return DenseTensor.Of(dims, values);
    }

    /// <summary>All values of int8.</summary>
    internal static sbyte[] Bytes(int count)
    {
        byte[] bytes = new byte[count];
        new Random(count).NextBytes(bytes);
        return (sbyte[])(object)bytes;
    }

    /// <summary>Whole numbers from 0 below <paramref name="limit"/>.</summary>
    internal static DenseTensor Labels(int limit, params long[] dims)
    {
        Random random = new(limit);
        long[] values = new long[dims.Aggregate(1L, (n, d) => n * d)];
        foreach (ref long value in values.AsSpan())
        {
            value = random.Next(limit);
        }

        return DenseTensor.Of(dims, values);
    }
}
