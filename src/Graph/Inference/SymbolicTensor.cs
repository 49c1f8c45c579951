using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference;

/// <summary>
/// The content of a small integer or bool tensor as far as it is known before the graph runs: shapes, axes,
/// bounds of slices and what is computed from them. Bools are 0 and 1.
/// </summary>
internal sealed class SymbolicTensor
{
    /// <summary>Largest tensor whose content is followed.</summary>
    internal const int MaxElements = 256;

    internal SymbolicTensor(ImmutableArray<long> dims, ImmutableArray<SymbolicExpression?> elements)
    {
        Dims = dims;
        Elements = elements;
    }

    /// <summary>Dimensions; most tensors followed have rank 0 or 1.</summary>
    internal ImmutableArray<long> Dims { get; }

    /// <summary>Elements, row-major; null where unknown.</summary>
    internal ImmutableArray<SymbolicExpression?> Elements { get; }

    internal int Count => Elements.Length;

    internal SymbolicExpression? this[int index] => Elements[index];

    internal static SymbolicTensor Scalar(SymbolicExpression? value) => new([], [value]);

    internal static SymbolicTensor Vector(params IEnumerable<SymbolicExpression?> values)
    {
        ImmutableArray<SymbolicExpression?> elements = [.. values];
        return new SymbolicTensor([elements.Length], elements);
    }

    /// <summary>The dimensions of a shape.</summary>
    internal static SymbolicTensor OfShape(IEnumerable<Dimension> shape) => Vector(shape.Select(SymbolicExpression.From));

    /// <summary>The content of a constant tensor, or null if it is large or holds neither integers nor bools.</summary>
    internal static SymbolicTensor? FromConstant(ITensor tensor)
    {
        return !TryCount(tensor.Dims, out _) ? null : tensor.ElementType switch
        {
            DataType.Int64 or DataType.Int32 or DataType.Int16 or DataType.Int8 or DataType.UInt8 or DataType.UInt16
                or DataType.UInt32 or DataType.Bool => new(tensor.Dims, [.. tensor.ToInt64s().Select(SymbolicExpression.Of)]),
            DataType.Float or DataType.Double when FromFloats(tensor) is { } elements => new(tensor.Dims, elements),
            _ => null,
        };
    }

    /// <summary>Number of elements of a tensor that is small enough to be followed.</summary>
    internal static bool TryCount(ImmutableArray<long> dims, out int count)
    {
        count = 1;
        foreach (long dim in dims)
        {
            // Dimensions come from files: compare before multiplying.
            if (dim is < 0 or > MaxElements || (count *= (int)dim) > MaxElements)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Applies a function to the broadcast elements of several tensors; null if they do not broadcast to a small tensor.</summary>
    internal static SymbolicTensor? Combine(SymbolicTensor[] inputs, Func<SymbolicExpression?[], SymbolicExpression?> function)
    {
        long[] dims = new long[inputs.Max(i => i.Dims.Length)];
        Array.Fill(dims, 1);
        foreach (SymbolicTensor input in inputs)
        {
            int offset = dims.Length - input.Dims.Length;
            for (int i = 0; i < input.Dims.Length; i++)
            {
                if (input.Dims[i] != 1 && dims[offset + i] != 1 && dims[offset + i] != input.Dims[i])
                {
                    return null;
                }

                dims[offset + i] = input.Dims[i] == 1 ? dims[offset + i] : input.Dims[i];
            }
        }

        ImmutableArray<long> result = [.. dims];
        if (!TryCount(result, out int count))
        {
            return null;
        }

        SymbolicTensor[] operands = Array.ConvertAll(inputs, i => i.BroadcastTo(result));
        SymbolicExpression?[] elements = new SymbolicExpression?[count];
        for (int i = 0; i < count; i++)
        {
            elements[i] = function(Array.ConvertAll(operands, o => o[i]));
        }

        return new SymbolicTensor(result, [.. elements]);
    }

    /// <summary>Applies a function to every element.</summary>
    internal SymbolicTensor Map(Func<SymbolicExpression?, SymbolicExpression?> function) => new(Dims, [.. Elements.Select(function)]);

    /// <summary>Whether each dimension is 1 or that of the result.</summary>
    internal bool CanBroadcastTo(ImmutableArray<long> dims) =>
        Dims.Length <= dims.Length && Dims.Zip(dims.Skip(dims.Length - Dims.Length)).All(p => p.First == 1 || p.First == p.Second);

    /// <summary>The content repeated to dimensions that it broadcasts to.</summary>
    internal SymbolicTensor BroadcastTo(ImmutableArray<long> dims)
    {
        int offset = dims.Length - Dims.Length;
        return Dims.SequenceEqual(dims)
            ? this
            : Select(dims, index => [.. Dims.Select((d, axis) => d == 1 ? 0 : index[axis + offset])]);
    }

    /// <summary>A tensor whose element at an index is the element of this tensor at the index that <paramref name="source"/> gives.</summary>
    /// <param name="dims">Dimensions of a small tensor.</param>
    /// <param name="source">From an index of the result to an index of this tensor.</param>
    internal SymbolicTensor Select(ImmutableArray<long> dims, Func<long[], long[]> source) =>
        new(dims, [.. Indices(dims).Select(index => Elements[(int)Linear(source(index))])]);

    /// <summary>Applies a function to the elements along axes.</summary>
    /// <param name="axes">Axes that go, counted from the front.</param>
    /// <param name="keepDims">Whether they stay with size 1.</param>
    /// <param name="function">From the elements of one group to the element that stands for them.</param>
    internal SymbolicTensor Reduce(int[] axes, bool keepDims, Func<SymbolicExpression?[], SymbolicExpression?> function)
    {
        ImmutableArray<long> groups = [.. Dims.Select((d, axis) => axes.Contains(axis) ? 1 : d)];
        ImmutableArray<long> group = [.. Dims.Select((d, axis) => axes.Contains(axis) ? d : 1)];
        SymbolicTensor positions = new(groups, [.. Indices(groups).Select(start =>
            function([.. Indices(group).Select(step => Elements[(int)Linear([.. start.Zip(step, (a, b) => a + b)])])]))]);
        return keepDims ? positions : new SymbolicTensor([.. groups.Where((_, axis) => !axes.Contains(axis))], positions.Elements);
    }

    /// <summary>All elements as numbers, or null if one is not a number.</summary>
    internal long[]? Constants()
    {
        long[] values = new long[Count];
        for (int i = 0; i < values.Length; i++)
        {
            if (Elements[i]?.Constant is not long value)
            {
                return null;
            }

            values[i] = value;
        }

        return values;
    }

    /// <summary>The elements as a shape.</summary>
    internal Shape ToShape() => new(Elements.Select(e => e?.ToDimension() ?? Dimension.Unknown));

    /// <summary>Every index of a small tensor, row-major. The array is reused from one to the next.</summary>
    private static IEnumerable<long[]> Indices(ImmutableArray<long> dims)
    {
        _ = TryCount(dims, out int count);
        long[] index = new long[dims.Length];
        for (int i = 0; i < count; i++)
        {
            yield return index;
            for (int axis = dims.Length - 1; axis >= 0 && ++index[axis] == dims[axis]; axis--)
            {
                index[axis] = 0;
            }
        }
    }

    private long Linear(long[] index)
    {
        long linear = 0;
        for (int axis = 0; axis < index.Length; axis++)
        {
            linear = (linear * Dims[axis]) + index[axis];
        }

        return linear;
    }

    // Exporters compute some sizes in floating point; whole numbers up to 2^24 are exact there.
    private static ImmutableArray<SymbolicExpression?>? FromFloats(ITensor tensor)
    {
        float[] values = tensor.ToFloats();
        return values.All(v => v == MathF.Floor(v) && MathF.Abs(v) < 1 << 24)
            ? [.. values.Select(v => SymbolicExpression.Of((long)v))]
            : null;
    }
}
