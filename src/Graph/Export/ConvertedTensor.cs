using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Export;

/// <summary>A float tensor in another float type and shape.</summary>
internal sealed class ConvertedTensor : ComputedTensor
{
    private readonly ITensor _source;

    private ConvertedTensor(ITensor source, DataType type, ImmutableArray<long> dims)
        : base(type, dims)
    {
        _source = source;
    }

    /// <summary>The tensor with element type and dimensions of another, which has as many elements.</summary>
    public static ITensor Like(ITensor source, ITensor like) =>
        source.ElementType == like.ElementType && source.Dims.AsSpan().SequenceEqual(like.Dims.AsSpan()) ? source : new ConvertedTensor(source, like.ElementType, like.Dims);

    /// <summary>The tensor in another element type.</summary>
    public static ITensor To(ITensor source, DataType type) => source.ElementType == type ? source : new ConvertedTensor(source, type, source.Dims);

    protected override void Compute(long first, Span<float> values) => _source.ReadFloats(first, values);
}
