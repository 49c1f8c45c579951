using System.Collections.Immutable;

namespace OrtQLoRA.Graph.IR;

/// <summary>A matrix with its two axes exchanged; made from the other when first read, and kept while it is being read.</summary>
internal sealed class TransposedTensor : ITensor
{
    private readonly ITensor _source;
    private readonly WeakReference<byte[]> _bytes = new([]);

    /// <summary>Creates the view.</summary>
    /// <exception cref="ArgumentException">The tensor is no matrix, or its elements are smaller than a byte.</exception>
    public TransposedTensor(ITensor source)
    {
        if (source.Dims.Length != 2 || source.ElementType.BitWidth() < 8)
        {
            throw new ArgumentException($"Only a matrix can be transposed, not {source.ElementType.OnnxName()} [{string.Join(", ", source.Dims)}].", nameof(source));
        }

        _source = source;
        Dims = [source.Dims[1], source.Dims[0]];
    }

    /// <inheritdoc/>
    public DataType ElementType => _source.ElementType;

    /// <inheritdoc/>
    public ImmutableArray<long> Dims { get; }

    /// <inheritdoc/>
    public long ByteLength => _source.ByteLength;

    /// <inheritdoc/>
    public void Read(long byteOffset, Span<byte> destination)
    {
        if (!_bytes.TryGetTarget(out byte[]? bytes) || bytes.Length != ByteLength)
        {
            bytes = Transpose();
            _bytes.SetTarget(bytes);
        }

        bytes.AsSpan((int)byteOffset, destination.Length).CopyTo(destination);
    }

    private byte[] Transpose()
    {
        int rows = (int)_source.Dims[0];
        int columns = (int)_source.Dims[1];
        int size = ElementType.BitWidth() / 8;
        byte[] source = _source.ToBytes();
        byte[] result = new byte[source.Length];

        // Square blocks keep both sides of the exchange in the cache.
        const int Block = 32;
        Parallel.For(0, (rows + Block - 1) / Block, block =>
        {
            int top = block * Block;
            for (int left = 0; left < columns; left += Block)
            {
                for (int r = top; r < Math.Min(top + Block, rows); r++)
                {
                    for (int c = left; c < Math.Min(left + Block, columns); c++)
                    {
                        source.AsSpan(((r * columns) + c) * size, size).CopyTo(result.AsSpan(((c * rows) + r) * size));
                    }
                }
            }
        });

        return result;
    }
}
