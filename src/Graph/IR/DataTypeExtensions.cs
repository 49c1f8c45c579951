namespace OrtQLoRA.Graph.IR;

/// <summary>Sizes, names and classes of element types.</summary>
public static class DataTypeExtensions
{
    /// <summary>Bits an element takes in a tensor's raw data; 0 for strings and undefined types.</summary>
    public static int BitWidth(this DataType type) => type switch
    {
        DataType.UInt2 or DataType.Int2 => 2,
        DataType.UInt4 or DataType.Int4 or DataType.Float4E2M1 => 4,
        DataType.UInt8 or DataType.Int8 or DataType.Bool or DataType.Float8E4M3FN or DataType.Float8E4M3FNUZ
            or DataType.Float8E5M2 or DataType.Float8E5M2FNUZ or DataType.Float8E8M0 => 8,
        DataType.UInt16 or DataType.Int16 or DataType.Float16 or DataType.BFloat16 => 16,
        DataType.Float or DataType.Int32 or DataType.UInt32 => 32,
        DataType.Double or DataType.Int64 or DataType.UInt64 or DataType.Complex64 => 64,
        DataType.Complex128 => 128,
        _ => 0,
    };

    /// <summary>Bytes that <paramref name="elementCount"/> elements take in raw data; sub-byte types are packed.</summary>
    /// <exception cref="OverflowException">The size does not fit 63 bits.</exception>
    public static long ByteLength(this DataType type, long elementCount)
    {
        int bits = type.BitWidth();
        return bits >= 8 ? checked(elementCount * (bits / 8)) : checked((elementCount * bits) + 7) / 8;
    }

    /// <summary>Whether gradients can flow through values of this type: float, double, float16 and bfloat16.</summary>
    public static bool IsFloatingPoint(this DataType type) =>
        type is DataType.Float or DataType.Double or DataType.Float16 or DataType.BFloat16;

    /// <summary>Whether the type is an integer of 8 bits or more.</summary>
    public static bool IsInteger(this DataType type) =>
        type is DataType.UInt8 or DataType.Int8 or DataType.UInt16 or DataType.Int16 or DataType.Int32
            or DataType.UInt32 or DataType.Int64 or DataType.UInt64;

    /// <summary>ONNX's own lower-case name, for messages: <c>float</c>, <c>int64</c>, <c>bfloat16</c>.</summary>
    public static string OnnxName(this DataType type) => Enum.IsDefined(type)
        ? type.ToString().ToLowerInvariant()
        : $"type {(int)type}";
}
