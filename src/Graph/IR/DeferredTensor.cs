using System.Collections.Immutable;

namespace OrtQLoRA.Graph.IR;

/// <summary>
/// A tensor whose raw data is made when it is first read, and dropped as soon as its end was read: writing a model holds
/// one such tensor at a time.
/// </summary>
internal sealed class DeferredTensor : ITensor
{
    private readonly Func<byte[]> _make;
    private readonly Lock _lock = new();
    private byte[]? _bytes;

    /// <summary>Creates the tensor.</summary>
    /// <param name="elementType">Element type; a whole number of bytes.</param>
    /// <param name="dims">Dimensions.</param>
    /// <param name="make">Makes the little-endian, row-major raw data; gives the same bytes each time.</param>
    public DeferredTensor(DataType elementType, IEnumerable<long> dims, Func<byte[]> make)
    {
        ElementType = elementType;
        Dims = [.. dims];
        ByteLength = elementType.ByteLength(this.ElementCount());
        _make = make;
    }

    /// <inheritdoc/>
    public DataType ElementType { get; }

    /// <inheritdoc/>
    public ImmutableArray<long> Dims { get; }

    /// <inheritdoc/>
    public long ByteLength { get; }

    /// <inheritdoc/>
    public void Read(long byteOffset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteOffset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(byteOffset, ByteLength - destination.Length);
        lock (_lock)
        {
            _bytes ??= _make();
            _bytes.AsSpan((int)byteOffset, destination.Length).CopyTo(destination);
            if (byteOffset + destination.Length == ByteLength)
            {
                _bytes = null;
            }
        }
    }
}
