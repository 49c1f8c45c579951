using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation;

/// <summary>Brings numbers into the range and precision of an element type.</summary>
public static class ElementRounding
{
    /// <summary>The nearest value of a floating-point type, ties to even.</summary>
    /// <remarks>
    /// float16 and bfloat16 are reached through float, as ONNX Runtime does: its CPU kernels compute in float and
    /// convert the result.
    /// </remarks>
    public static double Round(DataType type, double value) => type switch
    {
        DataType.Float => (float)value,
        DataType.Float16 => (double)(Half)(float)value,
        DataType.BFloat16 => FromBFloat16(ToBFloat16((float)value)),
        _ => value,
    };

    /// <summary>The value modulo the range of an integer type; for bool, whether it is not zero.</summary>
    public static long Wrap(DataType type, long value) => type switch
    {
        DataType.Bool => value != 0 ? 1 : 0,
        DataType.Int2 => value << 62 >> 62,
        DataType.UInt2 => value & 0x3,
        DataType.Int4 => value << 60 >> 60,
        DataType.UInt4 => value & 0xF,
        DataType.Int8 => (sbyte)value,
        DataType.UInt8 => (byte)value,
        DataType.Int16 => (short)value,
        DataType.UInt16 => (ushort)value,
        DataType.Int32 => (int)value,
        DataType.UInt32 => (uint)value,
        _ => value,
    };

    /// <summary>The bits of the nearest bfloat16, ties to even; NaN stays a quiet NaN.</summary>
    public static ushort ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value)
            ? (ushort)((bits >> 16) | 0x40)
            : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    /// <summary>The value of bfloat16 bits.</summary>
    public static float FromBFloat16(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);
}
