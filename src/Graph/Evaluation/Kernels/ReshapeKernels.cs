using System.Collections.Immutable;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Other dimensions or another order of the same elements, and repetition.</summary>
internal static class ReshapeKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("Reshape", Reshape);
        registry.Add("Flatten", Flatten);
        registry.Add("Squeeze", Squeeze);
        registry.Add("Unsqueeze", Unsqueeze);
        registry.Add("Transpose", Transpose);
        registry.Add("Expand", Expand);
        registry.Add("Tile", Tile);
        registry.Add("DepthToSpace", DepthToSpace);
        registry.Add("SpaceToDepth", SpaceToDepth);
    }

    private static ReferenceTensor Reshape(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        long[] dims = c.GetInts("shape", 1) ?? throw c.Error("the target shape is missing");
        string wanted = $"[{string.Join(", ", dims)}]";
        bool zeroIsZero = c.GetInt("allowzero", 0) == 1;
        for (int i = 0; i < dims.Length; i++)
        {
            if (dims[i] == 0 && !zeroIsZero)
            {
                dims[i] = i < x.Rank ? x.Dims[i] : throw c.Error($"dimension {i} of the shape {wanted} copies a dimension that {x} lacks");
            }
        }

        int free = Array.IndexOf(dims, -1);
        if (free >= 0)
        {
            int rest = Indexing.Count([.. dims.Where((_, i) => i != free)]);
            dims[free] = rest > 0 ? x.Count / rest : 0;
        }

        return Indexing.Count(dims) == x.Count
            ? x.Reshaped(dims)
            : throw c.Error($"{x} with {x.Count} elements cannot take the shape {wanted}");
    }

    private static ReferenceTensor Flatten(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        long axis = c.GetInt("axis", 1);
        int split = axis == x.Rank ? x.Rank : c.Axis(axis, Math.Max(x.Rank, 1));
        return x.Reshaped([Indexing.Count(x.Dims[..split]), Indexing.Count(x.Dims[split..])]);
    }

    private static ReferenceTensor Squeeze(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        int[] axes = c.GetInts("axes", 1) is { } given
            ? c.Axes(given, x.Rank)
            : [.. Enumerable.Range(0, x.Rank).Where(i => x.Dims[i] == 1)];
        foreach (int axis in axes)
        {
            if (x.Dims[axis] != 1)
            {
                throw c.Error($"axis {axis} of {x} has size {x.Dims[axis]}, only axes of size 1 can go");
            }
        }

        return x.Reshaped(x.Dims.Where((_, i) => !axes.Contains(i)));
    }

    private static ReferenceTensor Unsqueeze(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        long[] given = c.GetInts("axes", 1) ?? throw c.Error("the axes are missing");
        int[] axes = c.Axes(given, x.Rank + given.Length);
        if (axes.Length != given.Length)
        {
            throw c.Error($"an axis is given twice in [{string.Join(", ", given)}]");
        }

        List<long> dims = [.. x.Dims];
        foreach (int axis in axes)
        {
            dims.Insert(axis, 1);
        }

        return x.Reshaped(dims);
    }

    private static ReferenceTensor Transpose(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        long[]? given = c.GetInts("perm");
        int[] permutation = given is null
            ? [.. Enumerable.Range(0, x.Rank).Reverse()]
            : [.. given.Select(p => c.Axis(p, x.Rank))];
        return permutation.Order().SequenceEqual(Enumerable.Range(0, x.Rank))
            ? Permute(x, permutation)
            : throw c.Error($"perm [{string.Join(", ", permutation)}] is no permutation of the {x.Rank} axes of {x}");
    }

    /// <summary>Output axis i is input axis <c>permutation[i]</c>.</summary>
    private static ReferenceTensor Permute(ReferenceTensor x, params int[] permutation)
    {
        long[] dims = Indexing.At(x.Dims, permutation);
        return x.Take(dims, Indexing.View(dims, Indexing.At(Indexing.Strides(x.Dims), permutation)));
    }

    private static ReferenceTensor Expand(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        ImmutableArray<long> shape = c.Input(1).Integers;
        long[] dims = Indexing.Broadcast(x.Dims, shape)
            ?? throw c.Error($"{x} cannot be expanded to [{string.Join(", ", shape)}]");
        return x.Take(dims, Indexing.BroadcastMap(x.Dims, dims));
    }

    // Each axis becomes a pair (repetition, position), of which only the position moves through the input.
    private static ReferenceTensor Tile(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        ImmutableArray<long> repeats = c.Input(1).Integers;
        if (repeats.Length != x.Rank)
        {
            throw c.Error($"{repeats.Length} repeats are given for the {x.Rank} axes of {x}");
        }

        long[] strides = Indexing.Strides(x.Dims);
        long[] pairDims = [.. x.Dims.SelectMany((d, i) => new[] { repeats[i], d })];
        long[] pairStrides = [.. strides.SelectMany(s => new[] { 0, s })];
        return x.Take(x.Dims.Select((d, i) => d * repeats[i]), Indexing.View(pairDims, pairStrides));
    }

    // [N, C b b, H, W] -> [N, C, H b, W b]; DCR: channels are (b, b, C), CRD: (C, b, b).
    private static ReferenceTensor DepthToSpace(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        long b = c.GetInt("blocksize", 1);
        (long n, long depth, long h, long w) = (x.Dims[0], x.Dims[1] / (b * b), x.Dims[2], x.Dims[3]);
        ReferenceTensor blocks = c.GetString("mode", "DCR") == "DCR"
            ? Permute(x.Reshaped([n, b, b, depth, h, w]), 0, 3, 4, 1, 5, 2)
            : Permute(x.Reshaped([n, depth, b, b, h, w]), 0, 1, 4, 2, 5, 3);
        return blocks.Reshaped([n, depth, h * b, w * b]);
    }

    // [N, C, H b, W b] -> [N, b b C, H, W].
    private static ReferenceTensor SpaceToDepth(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        long b = c.GetInt("blocksize", 1);
        (long n, long depth, long h, long w) = (x.Dims[0], x.Dims[1], x.Dims[2] / b, x.Dims[3] / b);
        return Permute(x.Reshaped([n, depth, h, b, w, b]), 0, 3, 5, 1, 2, 4).Reshaped([n, depth * b * b, h, w]);
    }
}
