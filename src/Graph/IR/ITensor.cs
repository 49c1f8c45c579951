using System.Collections.Immutable;

namespace OrtQLoRA.Graph.IR;

/// <summary>
/// The content of an initializer or of a tensor attribute. Data may lie in memory or in a mapped file, so
/// readers take the part they need instead of the whole.
/// </summary>
public interface ITensor
{
    /// <summary>Element type.</summary>
    DataType ElementType { get; }

    /// <summary>Dimensions, outermost first; empty for a scalar.</summary>
    ImmutableArray<long> Dims { get; }

    /// <summary>Number of bytes of the little-endian, row-major raw data; 0 for strings.</summary>
    long ByteLength { get; }

    /// <summary>Copies raw data, starting <paramref name="byteOffset"/> bytes into the tensor.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range lies outside the tensor.</exception>
    void Read(long byteOffset, Span<byte> destination);
}
