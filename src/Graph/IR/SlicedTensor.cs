using System.Collections.Immutable;

namespace OrtQLoRA.Graph.IR;

/// <summary>Part of another tensor along one axis, read from there.</summary>
internal sealed class SlicedTensor : ITensor
{
    private readonly ITensor _source;
    private readonly long _sourceRun;
    private readonly long _run;
    private readonly long _offset;

    /// <summary>Creates the view.</summary>
    /// <param name="source">The whole; elements of at least a byte.</param>
    /// <param name="axis">Axis that is cut.</param>
    /// <param name="start">First index along it.</param>
    /// <param name="length">Number of indices.</param>
    /// <exception cref="ArgumentException">The part lies outside the tensor, or elements are smaller than a byte.</exception>
    public SlicedTensor(ITensor source, int axis, long start, long length)
    {
        if (axis >= source.Dims.Length || start < 0 || length < 0 || start + length > source.Dims[axis] || source.ElementType.BitWidth() < 8)
        {
            throw new ArgumentException(
                $"Indices {start} to {start + length - 1} along axis {axis} cannot be cut out of {source.ElementType.OnnxName()} [{string.Join(", ", source.Dims)}].", nameof(source));
        }

        _source = source;
        Dims = source.Dims.SetItem(axis, length);
        long inner = source.Dims.Skip(axis + 1).Aggregate(1L, (n, d) => n * d) * (source.ElementType.BitWidth() / 8);
        (_sourceRun, _run, _offset) = (source.Dims[axis] * inner, length * inner, start * inner);
        ByteLength = source.ElementType.ByteLength(this.ElementCount());
    }

    /// <inheritdoc/>
    public DataType ElementType => _source.ElementType;

    /// <inheritdoc/>
    public ImmutableArray<long> Dims { get; }

    /// <inheritdoc/>
    public long ByteLength { get; }

    /// <inheritdoc/>
    public void Read(long byteOffset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteOffset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(byteOffset + destination.Length, ByteLength);
        while (destination.Length > 0)
        {
            (long run, long within) = Math.DivRem(byteOffset, _run);
            int count = (int)Math.Min(destination.Length, _run - within);
            _source.Read((run * _sourceRun) + _offset + within, destination[..count]);
            destination = destination[count..];
            byteOffset += count;
        }
    }
}
