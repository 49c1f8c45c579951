using System.Collections.Immutable;

namespace OrtQLoRA.Graph.IR;

/// <summary>
/// A tensor stored by its non-zero elements. Readers see the dense content: <see cref="Read"/> fills the gaps with
/// zeros, part by part.
/// </summary>
public sealed class SparseTensor : ITensor
{
    private readonly int _elementSize;
    private readonly long[] _positions;

    /// <summary>Creates a sparse tensor.</summary>
    /// <param name="values">The non-zero elements, [NNZ], of a type of 8 bits or more.</param>
    /// <param name="indices">
    /// Their places as int64: row-major positions [NNZ] or coordinates [NNZ, rank], in ascending order without repeats.
    /// </param>
    /// <param name="dims">Dimensions of the dense tensor, outermost first.</param>
    /// <exception cref="ArgumentException">Types, counts, order or range are wrong.</exception>
    public SparseTensor(ITensor values, ITensor indices, IEnumerable<long> dims)
    {
        Values = values;
        Indices = indices;
        Dims = [.. dims];
        if (values.ElementType.BitWidth() < 8)
        {
            throw new ArgumentException($"a sparse tensor cannot hold elements of type {values.ElementType.OnnxName()}");
        }

        _elementSize = values.ElementType.BitWidth() / 8;
        ByteLength = values.ElementType.ByteLength(this.ElementCount());
        _positions = ReadPositions();
    }

    /// <summary>The non-zero elements.</summary>
    public ITensor Values { get; }

    /// <summary>The places of the elements, as the file gives them.</summary>
    public ITensor Indices { get; }

    /// <inheritdoc/>
    public DataType ElementType => Values.ElementType;

    /// <inheritdoc/>
    public ImmutableArray<long> Dims { get; }

    /// <summary>Number of bytes of the dense content.</summary>
    public long ByteLength { get; }

    /// <inheritdoc/>
    public void Read(long byteOffset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteOffset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(byteOffset, ByteLength - destination.Length);
        destination.Clear();
        long end = byteOffset + destination.Length;
        int next = Array.BinarySearch(_positions, byteOffset / _elementSize);
        Span<byte> element = stackalloc byte[_elementSize];
        for (int i = next < 0 ? ~next : next; i < _positions.Length && _positions[i] * _elementSize < end; i++)
        {
            Values.Read((long)i * _elementSize, element);
            long start = _positions[i] * _elementSize;
            int skip = (int)Math.Max(0, byteOffset - start);
            int count = (int)Math.Min(_elementSize, end - start) - skip;
            element.Slice(skip, count).CopyTo(destination[(int)(start + skip - byteOffset)..]);
        }
    }

    private long[] ReadPositions()
    {
        long count = Values.ElementCount();
        bool coordinates = Indices.Dims.Length == 2;
        if (Values.Dims.Length != 1 || Indices.ElementType != DataType.Int64 || Indices.Dims.Length is < 1 or > 2
            || Indices.Dims[0] != count || (coordinates && Indices.Dims[1] != Dims.Length))
        {
            throw new ArgumentException(
                $"a sparse tensor of rank {Dims.Length} needs values [NNZ] and int64 indices [NNZ] or [NNZ, {Dims.Length}], not values "
                + $"[{string.Join(", ", Values.Dims)}] and {Indices.ElementType.OnnxName()} indices [{string.Join(", ", Indices.Dims)}]");
        }

        long[] indices = Indices.ToArray<long>();
        long[] positions = coordinates ? new long[count] : indices;
        for (int i = 0; coordinates && i < positions.Length; i++)
        {
            for (int axis = 0; axis < Dims.Length; axis++)
            {
                long index = indices[(i * Dims.Length) + axis];
                if ((ulong)index >= (ulong)Dims[axis])
                {
                    throw new ArgumentException($"index {index} of element {i} lies outside axis {axis} of size {Dims[axis]}");
                }

                positions[i] = (positions[i] * Dims[axis]) + index;
            }
        }

        CheckAscending(positions);
        return positions;
    }

    private void CheckAscending(long[] positions)
    {
        long elements = this.ElementCount();
        for (int i = 0; i < positions.Length; i++)
        {
            if ((ulong)positions[i] >= (ulong)elements || (i > 0 && positions[i] <= positions[i - 1]))
            {
                throw new ArgumentException($"position {positions[i]} of element {i} is out of order or outside the {elements} elements");
            }
        }
    }
}
