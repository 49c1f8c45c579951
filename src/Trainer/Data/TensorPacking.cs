using System.Runtime.InteropServices;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Data;

/// <summary>Writes numbers as tensors of the element type that a graph input asks for.</summary>
internal static class TensorPacking
{
    internal static DenseTensor Pack(ModelInput input, long[] dims, ReadOnlySpan<long> values)
    {
        if (input.ElementType == DataType.Int64)
        {
            return DenseTensor.Of(dims, values);
        }

        double[] numbers = new double[values.Length];
        for (int i = 0; i < numbers.Length; i++)
        {
            numbers[i] = values[i];
        }

        return Pack(input, dims, numbers);
    }

    internal static DenseTensor Pack(ModelInput input, long[] dims, double[] values) => input.ElementType switch
    {
        DataType.Float => Convert(input, dims, values, v => (float)v),
        DataType.Double => DenseTensor.Of(dims, values),
        DataType.Float16 => Convert(input, dims, values, v => (Half)v),
        DataType.BFloat16 => Convert(input, dims, values, v => (ushort)(BitConverter.SingleToUInt32Bits((float)v) >> 16)),
        DataType.Int64 => Convert(input, dims, values, v => (long)v),
        DataType.Int32 => Convert(input, dims, values, v => (int)v),
        DataType.Int8 => Convert(input, dims, values, v => (sbyte)v),
        DataType.UInt8 => Convert(input, dims, values, v => (byte)v),
        DataType.Bool => Convert(input, dims, values, v => v != 0),
        _ => throw new UnsupportedOpException(
            $"The model's input '{input.Name}' is {input.ElementType.OnnxName()}, which data lines cannot fill; "
            + "convert the input to float, int64, int32 or bool in the model."),
    };

    private static DenseTensor Convert<T>(ModelInput input, long[] dims, double[] values, Func<double, T> convert)
        where T : unmanaged => new(input.ElementType, dims, MemoryMarshal.AsBytes(Array.ConvertAll(values, v => convert(v)).AsSpan()).ToArray());
}
