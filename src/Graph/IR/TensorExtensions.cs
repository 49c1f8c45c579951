using System.Runtime.InteropServices;

namespace OrtQLoRA.Graph.IR;

/// <summary>Reads tensors as .NET arrays.</summary>
public static class TensorExtensions
{
    /// <summary>Number of elements.</summary>
    /// <exception cref="OverflowException">The count does not fit 63 bits.</exception>
    public static long ElementCount(this ITensor tensor) => tensor.Dims.Aggregate(1L, (n, d) => checked(n * d));

    /// <summary>The tensor's type and static shape.</summary>
    public static OnnxType.Tensor ToOnnxType(this ITensor tensor) => new(tensor.ElementType, Shape.Of(tensor.Dims));

    /// <summary>All raw data, copied.</summary>
    /// <exception cref="OverflowException">The tensor exceeds 2 GB; read it in parts.</exception>
    public static byte[] ToBytes(this ITensor tensor)
    {
        byte[] bytes = new byte[checked((int)tensor.ByteLength)];
        tensor.Read(0, bytes);
        return bytes;
    }

    /// <summary>All elements in their own type, copied.</summary>
    /// <exception cref="InvalidOperationException">The tensor's element type is not <typeparamref name="T"/>.</exception>
    public static T[] ToArray<T>(this ITensor tensor)
        where T : unmanaged
    {
        if (tensor.ElementType != ElementTypes.Of<T>())
        {
            throw new InvalidOperationException($"The tensor holds {tensor.ElementType.OnnxName()}, not {ElementTypes.Of<T>().OnnxName()}.");
        }

        T[] values = new T[checked((int)tensor.ElementCount())];
        tensor.Read(0, MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    /// <summary>Elements <paramref name="start"/> to <paramref name="start"/> + length - 1 of a floating-point tensor as float.</summary>
    /// <remarks>float16 and bfloat16 convert exactly; double rounds to nearest.</remarks>
    /// <exception cref="InvalidOperationException">The tensor is not floating-point.</exception>
    public static void ReadFloats(this ITensor tensor, long start, Span<float> destination)
    {
        switch (tensor.ElementType)
        {
            case DataType.Float:
                tensor.Read(start * sizeof(float), MemoryMarshal.AsBytes(destination));
                break;
            case DataType.Float16:
                Half[] halves = new Half[destination.Length];
                tensor.Read(start * 2, MemoryMarshal.AsBytes(halves.AsSpan()));
                System.Numerics.Tensors.TensorPrimitives.ConvertToSingle(halves, destination);
                break;
            case DataType.BFloat16:
                ushort[] upper = new ushort[destination.Length];
                tensor.Read(start * 2, MemoryMarshal.AsBytes(upper.AsSpan()));
                for (int i = 0; i < upper.Length; i++)
                {
                    destination[i] = BitConverter.UInt32BitsToSingle((uint)upper[i] << 16);
                }

                break;
            case DataType.Double:
                double[] doubles = new double[destination.Length];
                tensor.Read(start * sizeof(double), MemoryMarshal.AsBytes(doubles.AsSpan()));
                for (int i = 0; i < doubles.Length; i++)
                {
                    destination[i] = (float)doubles[i];
                }

                break;
            default:
                throw new InvalidOperationException($"A {tensor.ElementType.OnnxName()} tensor cannot be read as floating point.");
        }
    }

    /// <summary>All elements of a floating-point tensor as float.</summary>
    public static float[] ToFloats(this ITensor tensor)
    {
        float[] values = new float[checked((int)tensor.ElementCount())];
        tensor.ReadFloats(0, values);
        return values;
    }

    /// <summary>All elements of an integer or bool tensor as 64-bit integers.</summary>
    /// <exception cref="InvalidOperationException">The tensor holds neither integers nor bools.</exception>
    public static long[] ToInt64s(this ITensor tensor) => tensor.ElementType switch
    {
        DataType.Int64 => tensor.ToArray<long>(),
        DataType.Int32 => Array.ConvertAll(tensor.ToArray<int>(), v => (long)v),
        DataType.Int16 => Array.ConvertAll(tensor.ToArray<short>(), v => (long)v),
        DataType.Int8 => Array.ConvertAll(tensor.ToArray<sbyte>(), v => (long)v),
        DataType.UInt64 => Array.ConvertAll(tensor.ToArray<ulong>(), v => checked((long)v)),
        DataType.UInt32 => Array.ConvertAll(tensor.ToArray<uint>(), v => (long)v),
        DataType.UInt16 => Array.ConvertAll(tensor.ToArray<ushort>(), v => (long)v),
        DataType.UInt8 => Array.ConvertAll(tensor.ToArray<byte>(), v => (long)v),
        DataType.Bool => Array.ConvertAll(tensor.ToBytes(), v => (long)v),
        _ => throw new InvalidOperationException($"A {tensor.ElementType.OnnxName()} tensor cannot be read as integers."),
    };
}
