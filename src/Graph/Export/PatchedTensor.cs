using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// An initializer that several modules share, with the parts of some of them replaced: the columns of queries and values in a
/// fused attention weight. Parts are read when the tensor is.
/// </summary>
internal sealed class PatchedTensor : ITensor
{
    private readonly ITensor _original;
    private readonly Dictionary<WeightSlice, ITensor> _parts = [];

    public PatchedTensor(ITensor original)
    {
        _original = original;
    }

    public DataType ElementType => _original.ElementType;

    public ImmutableArray<long> Dims => _original.Dims;

    public long ByteLength => _original.ByteLength;

    /// <summary>Replaces one part.</summary>
    /// <exception cref="ArgumentException">The content does not have the part's type and dimensions.</exception>
    public void Replace(WeightSlice slice, ITensor content)
    {
        if (content.ElementType != ElementType || !content.Dims.SequenceEqual(Dims.SetItem(slice.Axis, slice.Length)))
        {
            throw new ArgumentException(
                $"A part of {slice.Length} along axis {slice.Axis} of {ElementType.OnnxName()} [{string.Join(", ", Dims)}] cannot be {content.ElementType.OnnxName()} [{string.Join(", ", content.Dims)}].", nameof(content));
        }

        _parts[slice] = content;
    }

    public void Read(long byteOffset, Span<byte> destination)
    {
        _original.Read(byteOffset, destination);
        foreach ((WeightSlice slice, ITensor content) in _parts)
        {
            Overlay(slice, content, byteOffset, destination);
        }
    }

    private void Overlay(WeightSlice slice, ITensor content, long byteOffset, Span<byte> destination)
    {
        // Along the divided axis the whole lies in rows of one size, in which the part takes a stretch.
        long inner = Dims.Skip(slice.Axis + 1).Aggregate(1L, (n, d) => n * d) * (ElementType.BitWidth() / 8);
        long row = Dims[slice.Axis] * inner;
        long stretch = slice.Length * inner;
        long end = byteOffset + destination.Length;
        for (long index = byteOffset / row; index * row < end; index++)
        {
            long start = (index * row) + (slice.Start * inner);
            long from = Math.Max(start, byteOffset);
            long to = Math.Min(start + stretch, end);
            if (from < to)
            {
                content.Read((index * stretch) + (from - start), destination.Slice((int)(from - byteOffset), (int)(to - from)));
            }
        }
    }
}
