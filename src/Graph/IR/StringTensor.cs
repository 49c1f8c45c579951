using System.Collections.Immutable;

namespace OrtQLoRA.Graph.IR;

/// <summary>A tensor of byte strings.</summary>
public sealed class StringTensor : ITensor
{
    /// <summary>Creates the tensor.</summary>
    /// <param name="dims">Dimensions, outermost first.</param>
    /// <param name="values">The strings as bytes, row-major.</param>
    /// <exception cref="ArgumentException">The number of strings does not fit the dimensions.</exception>
    public StringTensor(IEnumerable<long> dims, ImmutableArray<ReadOnlyMemory<byte>> values)
    {
        Dims = [.. dims];
        Values = values;
        if (values.Length != this.ElementCount())
        {
            throw new ArgumentException(
                $"A string tensor of shape [{string.Join(", ", Dims)}] has {this.ElementCount()} strings, not {values.Length}.", nameof(values));
        }
    }

    /// <inheritdoc/>
    public DataType ElementType => DataType.String;

    /// <inheritdoc/>
    public ImmutableArray<long> Dims { get; }

    /// <summary>The strings as bytes, row-major.</summary>
    public ImmutableArray<ReadOnlyMemory<byte>> Values { get; }

    /// <inheritdoc/>
    public long ByteLength => 0;

    /// <inheritdoc/>
    public void Read(long byteOffset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(byteOffset, 0);
        ArgumentOutOfRangeException.ThrowIfNotEqual(destination.Length, 0);
    }
}
