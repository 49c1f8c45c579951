namespace OrtQLoRA.Graph.Evaluation;

/// <summary>Index arithmetic of row-major tensors: strides, views and broadcasting.</summary>
public static class Indexing
{
    /// <summary>Number of elements.</summary>
    /// <exception cref="GraphException">A dimension is negative, or the elements do not fit one .NET array.</exception>
    public static int Count(IReadOnlyList<long> dims)
    {
        if (dims.Any(d => d < 0))
        {
            throw new GraphException($"A tensor cannot have the shape [{string.Join(", ", dims)}].");
        }

        long count = dims.Contains(0) ? 0 : 1;
        foreach (long dim in dims)
        {
            if (count > 0 && dim > Array.MaxLength / count)
            {
                throw new GraphException($"A tensor of shape [{string.Join(", ", dims)}] is too large for the reference evaluator.");
            }

            count *= dim;
        }

        return (int)count;
    }

    /// <summary>Distance in elements between neighbours along each axis.</summary>
    public static long[] Strides(IReadOnlyList<long> dims)
    {
        long[] strides = new long[dims.Count];
        long stride = 1;
        for (int i = dims.Count - 1; i >= 0; i--)
        {
            strides[i] = stride;
            stride *= dims[i];
        }

        return strides;
    }

    /// <summary>
    /// The flat source index of every element, row-major, of a view: element (i, j, ...) lies at
    /// <c>offset + i * strides[0] + j * strides[1] + ...</c>. Strides may be zero (broadcast) or negative (reversal).
    /// </summary>
    public static int[] View(IReadOnlyList<long> dims, IReadOnlyList<long> strides, long offset = 0)
    {
        int[] map = new int[Count(dims)];
        long[] position = new long[dims.Count];
        long source = offset;
        for (int i = 0; i < map.Length; i++)
        {
            map[i] = (int)source;
            for (int axis = dims.Count - 1; axis >= 0; axis--)
            {
                source += strides[axis];
                if (++position[axis] < dims[axis])
                {
                    break;
                }

                source -= strides[axis] * dims[axis];
                position[axis] = 0;
            }
        }

        return map;
    }

    /// <summary>The position along every axis of the element with a flat index.</summary>
    public static long[] Unravel(long index, IReadOnlyList<long> dims)
    {
        long[] position = new long[dims.Count];
        for (int axis = dims.Count - 1; axis >= 0; axis--)
        {
            position[axis] = index % dims[axis];
            index /= dims[axis];
        }

        return position;
    }

    /// <summary>The dimensions that several shapes broadcast to (numpy's rules).</summary>
    /// <returns>Null if they do not fit.</returns>
    public static long[]? Broadcast(params IEnumerable<IReadOnlyList<long>> shapes)
    {
        long[] result = [];
        foreach (IReadOnlyList<long> shape in shapes)
        {
            int rank = Math.Max(result.Length, shape.Count);
            long[] merged = new long[rank];
            for (int i = 1; i <= rank; i++)
            {
                long a = i <= result.Length ? result[^i] : 1;
                long b = i <= shape.Count ? shape[^i] : 1;
                if (a != b && a != 1 && b != 1)
                {
                    return null;
                }

                merged[^i] = a == 1 ? b : a;
            }

            result = merged;
        }

        return result;
    }

    /// <summary>For every element of a broadcast result, the flat index of its source.</summary>
    public static int[] BroadcastMap(IReadOnlyList<long> source, IReadOnlyList<long> target)
    {
        long[] strides = Strides(source);
        long[] aligned = new long[target.Count];
        for (int i = 1; i <= source.Count; i++)
        {
            aligned[^i] = source[^i] == 1 ? 0 : strides[^i];
        }

        return View(target, aligned);
    }

    /// <summary>The items of a list at the given positions.</summary>
    public static long[] At(IReadOnlyList<long> items, IEnumerable<int> positions) => [.. positions.Select(p => items[p])];
}
