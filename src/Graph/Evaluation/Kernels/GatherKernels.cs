using System.Collections.Immutable;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Elements and slices chosen by index tensors. Negative indices count from the end.</summary>
internal static class GatherKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("Gather", Gather);
        registry.Add("GatherElements", GatherElements);
        registry.Add("GatherND", GatherND);
    }

    /// <summary>An index counted from the front.</summary>
    /// <exception cref="GraphException">It lies outside the axis.</exception>
    public static long Resolve(KernelContext c, long index, long size) => index >= -size && index < size
        ? index < 0 ? index + size : index
        : throw c.Error($"index {index} lies outside an axis of size {size}");

    /// <summary>
    /// For every element of an index tensor along one axis of the data, the flat index of the data element with the
    /// same position but for that axis.
    /// </summary>
    public static int[] ElementsAlongAxis(KernelContext c, ReferenceTensor data, ReferenceTensor indices, int axis)
    {
        if (indices.Rank != data.Rank || indices.Dims.Where((d, i) => i != axis && d > data.Dims[i]).Any())
        {
            throw c.Error($"the indices {indices} do not fit the data {data} along axis {axis}");
        }

        long[] strides = Indexing.Strides(data.Dims);
        long stride = strides[axis];
        strides[axis] = 0;
        int[] map = Indexing.View(indices.Dims, strides);
        for (int i = 0; i < map.Length; i++)
        {
            map[i] += (int)(Resolve(c, indices.Integers[i], data.Dims[axis]) * stride);
        }

        return map;
    }

    /// <summary>
    /// For every index tuple (last axis of <paramref name="indices"/>), the flat indices of the data slice it names,
    /// one after the other; the first <paramref name="batchDims"/> axes are common to both tensors.
    /// </summary>
    public static int[] SlicesByTuple(KernelContext c, ReferenceTensor data, ReferenceTensor indices, int batchDims)
    {
        int tuple = indices.Rank > 0 ? (int)indices.Dims[^1] : throw c.Error("the indices are a scalar");
        if (batchDims + tuple > data.Rank || batchDims >= indices.Rank || !indices.Dims[..batchDims].SequenceEqual(data.Dims[..batchDims]))
        {
            throw c.Error($"the indices {indices} do not fit the data {data} with batch_dims {batchDims}");
        }

        long[] strides = Indexing.Strides(data.Dims);
        ImmutableArray<long> outer = indices.Dims[..^1];
        int[] starts = Indexing.View(outer, [.. outer.Select((_, i) => i < batchDims ? strides[i] : 0)]);
        int slice = Indexing.Count(data.Dims[(batchDims + tuple)..]);
        int[] map = new int[starts.Length * slice];
        for (int o = 0; o < starts.Length; o++)
        {
            long start = starts[o];
            for (int j = 0; j < tuple; j++)
            {
                int axis = batchDims + j;
                start += Resolve(c, indices.Integers[(o * tuple) + j], data.Dims[axis]) * strides[axis];
            }

            for (int s = 0; s < slice; s++)
            {
                map[(o * slice) + s] = (int)start + s;
            }
        }

        return map;
    }

    // Output = data dims before the axis, indices dims, data dims behind the axis.
    private static ReferenceTensor Gather(KernelContext c)
    {
        (ReferenceTensor data, ReferenceTensor indices) = (c.Input(0), c.Input(1));
        int axis = c.Axis(c.GetInt("axis", 0), data.Rank);
        int outer = Indexing.Count(data.Dims[..axis]);
        int inner = Indexing.Count(data.Dims[(axis + 1)..]);
        long size = data.Dims[axis];
        long[] dims = [.. data.Dims[..axis], .. indices.Dims, .. data.Dims[(axis + 1)..]];
        int[] map = new int[Indexing.Count(dims)];
        int next = 0;
        for (int o = 0; o < outer; o++)
        {
            foreach (long index in indices.Integers)
            {
                long start = ((o * size) + Resolve(c, index, size)) * inner;
                for (int i = 0; i < inner; i++)
                {
                    map[next++] = (int)start + i;
                }
            }
        }

        return data.Take(dims, map);
    }

    private static ReferenceTensor GatherElements(KernelContext c)
    {
        (ReferenceTensor data, ReferenceTensor indices) = (c.Input(0), c.Input(1));
        int axis = c.Axis(c.GetInt("axis", 0), data.Rank);
        return data.Take(indices.Dims, ElementsAlongAxis(c, data, indices, axis));
    }

    private static ReferenceTensor GatherND(KernelContext c)
    {
        (ReferenceTensor data, ReferenceTensor indices) = (c.Input(0), c.Input(1));
        int batchDims = (int)c.GetInt("batch_dims", 0);
        int[] map = SlicesByTuple(c, data, indices, batchDims);
        return data.Take([.. indices.Dims[..^1], .. data.Dims[(batchDims + (int)indices.Dims[^1])..]], map);
    }
}
