using System.Runtime.InteropServices;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation;

/// <summary>Reads and writes raw tensor data for <see cref="ReferenceTensor"/>.</summary>
internal static class ReferenceTensorConversion
{
    public static ReferenceTensor Read(ITensor tensor)
    {
        Indexing.Count(tensor.Dims);
        return tensor.ElementType switch
        {
            DataType.Float => Floats(tensor, tensor.ToArray<float>(), v => v),
            DataType.Double => Floats(tensor, tensor.ToArray<double>(), v => v),
            DataType.Float16 => Floats(tensor, tensor.ToArray<Half>(), v => (double)v),
            DataType.BFloat16 => Floats(tensor, MemoryMarshal.Cast<byte, ushort>(tensor.ToBytes()).ToArray(), v => ElementRounding.FromBFloat16(v)),
            DataType.String when tensor is StringTensor strings => ReferenceTensor.OfStrings(tensor.Dims, strings.Values),
            DataType.UInt64 => ReferenceTensor.OfIntegers(tensor.ElementType, tensor.Dims, Array.ConvertAll(tensor.ToArray<ulong>(), v => (long)v)),
            DataType.Int4 or DataType.UInt4 or DataType.Int2 or DataType.UInt2 =>
                ReferenceTensor.OfIntegers(tensor.ElementType, tensor.Dims, Unpack(tensor)),
            _ when ReferenceTensor.HoldsIntegers(tensor.ElementType) =>
                ReferenceTensor.OfIntegers(tensor.ElementType, tensor.Dims, tensor.ToInt64s()),
            _ => throw new GraphException(
                $"The reference evaluator cannot read a {tensor.ElementType.OnnxName()} tensor; it knows float, double, float16, bfloat16, integers, bool and string."),
        };
    }

    public static ITensor Write(ReferenceTensor tensor) => tensor.ElementType switch
    {
        DataType.Float => Dense(tensor, Convert(tensor.Floats.AsSpan(), v => (float)v)),
        DataType.Double => Dense(tensor, tensor.Floats.ToArray()),
        DataType.Float16 => Dense(tensor, Convert(tensor.Floats.AsSpan(), v => (Half)(float)v)),
        DataType.BFloat16 => Dense(tensor, Convert(tensor.Floats.AsSpan(), v => ElementRounding.ToBFloat16((float)v))),
        DataType.String => new StringTensor(tensor.Dims, tensor.Strings),
        DataType.Int64 or DataType.UInt64 => Dense(tensor, tensor.Integers.ToArray()),
        DataType.Int32 or DataType.UInt32 => Dense(tensor, Convert(tensor.Integers.AsSpan(), v => (int)v)),
        DataType.Int16 or DataType.UInt16 => Dense(tensor, Convert(tensor.Integers.AsSpan(), v => (short)v)),
        DataType.Int8 or DataType.UInt8 or DataType.Bool => Dense(tensor, Convert(tensor.Integers.AsSpan(), v => (byte)v)),
        _ => new DenseTensor(tensor.ElementType, tensor.Dims, Pack(tensor)),
    };

    private static ReferenceTensor Floats<T>(ITensor tensor, T[] values, Converter<T, double> convert) =>
        ReferenceTensor.OfFloats(tensor.ElementType, tensor.Dims, Array.ConvertAll(values, convert));

    private static DenseTensor Dense<T>(ReferenceTensor tensor, T[] values)
        where T : unmanaged => new(tensor.ElementType, tensor.Dims, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());

    private static TResult[] Convert<T, TResult>(ReadOnlySpan<T> values, Func<T, TResult> convert)
    {
        TResult[] results = new TResult[values.Length];
        for (int i = 0; i < values.Length; i++)
        {
            results[i] = convert(values[i]);
        }

        return results;
    }

    // Sub-byte elements are packed from the lowest bits up; wrapping restores the sign.
    private static long[] Unpack(ITensor tensor)
    {
        int bits = tensor.ElementType.BitWidth();
        byte[] packed = tensor.ToBytes();
        long[] values = new long[tensor.ElementCount()];
        for (int i = 0; i < values.Length; i++)
        {
            int bit = i * bits;
            values[i] = packed[bit / 8] >> (bit % 8);
        }

        return values;
    }

    private static byte[] Pack(ReferenceTensor tensor)
    {
        int bits = tensor.ElementType.BitWidth();
        byte[] packed = new byte[tensor.ElementType.ByteLength(tensor.Count)];
        for (int i = 0; i < tensor.Count; i++)
        {
            int bit = i * bits;
            packed[bit / 8] |= (byte)((tensor.Integers[i] & ((1 << bits) - 1)) << (bit % 8));
        }

        return packed;
    }
}
