using System.Collections.Immutable;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// A floating-point tensor whose values are computed in fp32 when they are read, and rounded to its element type: writing a
/// merged model needs memory for a few rows of a weight, not for the model.
/// </summary>
internal abstract class ComputedTensor : ITensor
{
    private const int ChunkElements = 1 << 18;

    protected ComputedTensor(DataType elementType, ImmutableArray<long> dims)
    {
        if (!elementType.IsFloatingPoint())
        {
            throw new ArgumentException($"Computed tensors hold floats, not {elementType.OnnxName()}.", nameof(elementType));
        }

        ElementType = elementType;
        Dims = dims;
        ByteLength = elementType.ByteLength(this.ElementCount());
    }

    public DataType ElementType { get; }

    public ImmutableArray<long> Dims { get; }

    public long ByteLength { get; }

    public void Read(long byteOffset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteOffset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(byteOffset + destination.Length, ByteLength);
        int size = ElementType.BitWidth() / 8;
        float[] values = new float[Math.Min(ChunkElements, (destination.Length / size) + 2)];
        byte[] encoded = new byte[values.Length * size];
        while (destination.Length > 0)
        {
            (long first, long skipped) = Math.DivRem(byteOffset, size);
            int count = (int)Math.Min(values.Length, (skipped + destination.Length + size - 1) / size);
            Compute(first, values.AsSpan(0, count));
            Encode(values.AsSpan(0, count), encoded);
            int bytes = (int)Math.Min(destination.Length, ((long)count * size) - skipped);
            encoded.AsSpan((int)skipped, bytes).CopyTo(destination);
            destination = destination[bytes..];
            byteOffset += bytes;
        }
    }

    /// <summary>Computes consecutive elements, row-major.</summary>
    protected abstract void Compute(long first, Span<float> values);

    private void Encode(ReadOnlySpan<float> values, Span<byte> bytes)
    {
        switch (ElementType)
        {
            case DataType.Float:
                MemoryMarshal.AsBytes(values).CopyTo(bytes);
                break;
            case DataType.Float16:
                TensorPrimitives.ConvertToHalf(values, MemoryMarshal.Cast<byte, Half>(bytes)[..values.Length]);
                break;
            case DataType.Double:
                TensorPrimitives.ConvertChecked(values, MemoryMarshal.Cast<byte, double>(bytes)[..values.Length]);
                break;
            default:
                Span<ushort> upper = MemoryMarshal.Cast<byte, ushort>(bytes);
                for (int i = 0; i < values.Length; i++)
                {
                    upper[i] = ElementRounding.ToBFloat16(values[i]);
                }

                break;
        }
    }
}
