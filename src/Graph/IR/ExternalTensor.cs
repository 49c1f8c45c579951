using System.Collections.Immutable;
using OrtQLoRA.Graph.IO;

namespace OrtQLoRA.Graph.IR;

/// <summary>
/// A tensor whose raw data (little-endian, row-major) lies in a mapped file. Reading it after the file's owner
/// (the model, the safetensors file) is disposed fails.
/// </summary>
public sealed class ExternalTensor : ITensor
{
    /// <summary>Creates a tensor over a range of a mapped file.</summary>
    /// <param name="file">The file; the tensor does not own it.</param>
    /// <param name="offset">First byte of the tensor in the file.</param>
    /// <param name="elementType">Element type; not String.</param>
    /// <param name="dims">Dimensions, outermost first.</param>
    /// <exception cref="ArgumentOutOfRangeException">The range lies outside the file.</exception>
    public ExternalTensor(MappedFile file, long offset, DataType elementType, IEnumerable<long> dims)
    {
        File = file;
        Offset = offset;
        ElementType = elementType;
        Dims = [.. dims];
        ByteLength = elementType.ByteLength(this.ElementCount());
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, file.Length - ByteLength);
    }

    /// <summary>The file that holds the data.</summary>
    public MappedFile File { get; }

    /// <summary>Whether the file is the model file itself, rather than one beside it.</summary>
    public bool IsInModelFile { get; init; }

    /// <summary>First byte of the tensor in the file.</summary>
    public long Offset { get; }

    /// <inheritdoc/>
    public DataType ElementType { get; }

    /// <inheritdoc/>
    public ImmutableArray<long> Dims { get; }

    /// <inheritdoc/>
    public long ByteLength { get; }

    /// <summary>Address of the first byte, for callers that use the mapped memory in place; valid until the file is disposed.</summary>
    public nint Address => File.Address + (nint)Offset;

    /// <inheritdoc/>
    public void Read(long byteOffset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteOffset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(byteOffset, ByteLength - destination.Length);
        File.CopyTo(Offset + byteOffset, destination);
    }

    /// <summary>Raw data in place; valid until the file is disposed.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range lies outside the tensor.</exception>
    public ReadOnlySpan<byte> AsSpan(long byteOffset, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteOffset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(byteOffset, ByteLength - length);
        return File.AsSpan(Offset + byteOffset, length);
    }

    /// <inheritdoc/>
    public override string ToString() => $"{ElementType.OnnxName()}[{string.Join(", ", Dims)}]";
}
