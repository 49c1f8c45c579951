namespace OrtQLoRA.Graph.IR;

/// <summary>Sizes from untrusted dimensions, computed without overflow.</summary>
internal static class TensorSize
{
    /// <summary>
    /// Computes the number of elements and of bytes. Fails if a dimension is negative, or if the elements or bytes
    /// (a dimension of 0 counted as 1, so that the order of dimensions does not matter) exceed 63 bits.
    /// </summary>
    public static bool TryCompute(DataType type, IEnumerable<long> dims, out long elements, out long bytes)
    {
        elements = 0;
        bytes = 0;
        Int128 count = 1;
        bool isEmpty = false;
        foreach (long dim in dims)
        {
            isEmpty |= dim == 0;
            count *= Math.Max(dim, 1);
            if (dim < 0 || count > long.MaxValue)
            {
                return false;
            }
        }

        Int128 size = ((count * type.BitWidth()) + 7) / 8;
        if (size > long.MaxValue)
        {
            return false;
        }

        elements = isEmpty ? 0 : (long)count;
        bytes = isEmpty ? 0 : (long)size;
        return true;
    }
}
