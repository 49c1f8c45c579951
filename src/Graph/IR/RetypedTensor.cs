using System.Collections.Immutable;

namespace OrtQLoRA.Graph.IR;

/// <summary>The bytes of another tensor under another element type and other dimensions.</summary>
internal sealed class RetypedTensor : ITensor
{
    private readonly ITensor _source;

    /// <summary>Creates the view.</summary>
    /// <exception cref="ArgumentException">Type and dimensions ask for another number of bytes.</exception>
    public RetypedTensor(ITensor source, DataType type, IEnumerable<long> dims)
    {
        _source = source;
        ElementType = type;
        Dims = [.. dims];
        if (type.ByteLength(this.ElementCount()) != source.ByteLength)
        {
            throw new ArgumentException(
                $"{source.ByteLength} bytes of {source.ElementType.OnnxName()} [{string.Join(", ", source.Dims)}] are no {type.OnnxName()} [{string.Join(", ", Dims)}].", nameof(source));
        }
    }

    /// <inheritdoc/>
    public DataType ElementType { get; }

    /// <inheritdoc/>
    public ImmutableArray<long> Dims { get; }

    /// <inheritdoc/>
    public long ByteLength => _source.ByteLength;

    /// <inheritdoc/>
    public void Read(long byteOffset, Span<byte> destination) => _source.Read(byteOffset, destination);
}
