using System.Collections.Immutable;
using System.Runtime.InteropServices;

namespace OrtQLoRA.Graph.IR;

/// <summary>A tensor whose raw data (little-endian, row-major) lies in memory.</summary>
public sealed class DenseTensor : ITensor
{
    /// <summary>Wraps raw data; the tensor shares the memory.</summary>
    /// <param name="elementType">Element type; not String.</param>
    /// <param name="dims">Dimensions, outermost first.</param>
    /// <param name="data">Raw data of exactly the size that type and dimensions ask for.</param>
    /// <exception cref="ArgumentException">The size of the data does not fit.</exception>
    public DenseTensor(DataType elementType, IEnumerable<long> dims, ReadOnlyMemory<byte> data)
    {
        ElementType = elementType;
        Dims = [.. dims];
        Data = data;
        long expected = elementType.ByteLength(this.ElementCount());
        if (data.Length != expected || elementType == DataType.String)
        {
            throw new ArgumentException(
                $"A {elementType.OnnxName()} tensor of shape [{string.Join(", ", Dims)}] has {expected} bytes of raw data, not {data.Length}.",
                nameof(data));
        }
    }

    /// <inheritdoc/>
    public DataType ElementType { get; }

    /// <inheritdoc/>
    public ImmutableArray<long> Dims { get; }

    /// <summary>The raw data.</summary>
    public ReadOnlyMemory<byte> Data { get; }

    /// <inheritdoc/>
    public long ByteLength => Data.Length;

    /// <summary>A tensor of the given elements; the element type follows from <typeparamref name="T"/>.</summary>
    /// <typeparam name="T">float, double, Half, an integer type or bool.</typeparam>
    /// <param name="dims">Dimensions whose product is the number of values.</param>
    /// <param name="values">Elements in row-major order; copied.</param>
    public static DenseTensor Of<T>(IEnumerable<long> dims, ReadOnlySpan<T> values)
        where T : unmanaged => new(ElementTypes.Of<T>(), dims, MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>A tensor of the given elements.</summary>
    public static DenseTensor Of<T>(IEnumerable<long> dims, T[] values)
        where T : unmanaged => Of(dims, (ReadOnlySpan<T>)values);

    /// <summary>A tensor of rank 0.</summary>
    public static DenseTensor Scalar<T>(T value)
        where T : unmanaged => Of([], [value]);

    /// <summary>A tensor of rank 1.</summary>
    public static DenseTensor Vector<T>(params T[] values)
        where T : unmanaged => Of([values.Length], values);

    /// <inheritdoc/>
    public void Read(long byteOffset, Span<byte> destination) =>
        Data.Span.Slice(checked((int)byteOffset), destination.Length).CopyTo(destination);

    /// <inheritdoc/>
    public override string ToString() => $"{ElementType.OnnxName()}[{string.Join(", ", Dims)}]";
}
