using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Integer operations that depend on whether the type is unsigned 64-bit; all other types fit int64.</summary>
internal static class IntegerMath
{
    /// <summary>Truncating division, as C's.</summary>
    /// <exception cref="DivideByZeroException">The divisor is zero.</exception>
    public static long Divide(DataType type, long a, long b) =>
        type == DataType.UInt64 ? (long)((ulong)a / (ulong)b) : b == -1 ? -a : a / b;

    /// <summary>Remainder with the sign of the dividend, as C's.</summary>
    /// <exception cref="DivideByZeroException">The divisor is zero.</exception>
    public static long Remainder(DataType type, long a, long b) =>
        type == DataType.UInt64 ? (long)((ulong)a % (ulong)b) : b == -1 ? 0 : a % b;

    /// <summary>Remainder with the sign of the divisor, as Python's.</summary>
    /// <exception cref="DivideByZeroException">The divisor is zero.</exception>
    public static long Modulo(DataType type, long a, long b)
    {
        long remainder = Remainder(type, a, b);
        return type != DataType.UInt64 && remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
    }

    /// <summary>Order of two elements.</summary>
    public static int Compare(DataType type, long a, long b) =>
        type == DataType.UInt64 ? ((ulong)a).CompareTo((ulong)b) : a.CompareTo(b);

    public static long Max(DataType type, long a, long b) => Compare(type, a, b) >= 0 ? a : b;

    public static long Min(DataType type, long a, long b) => Compare(type, a, b) <= 0 ? a : b;

    /// <summary>The element as a float64.</summary>
    public static double ToDouble(DataType type, long value) => type == DataType.UInt64 ? (ulong)value : value;

    /// <summary>A number truncated towards zero, in the bits of the type.</summary>
    public static long FromDouble(DataType type, double value) => type == DataType.UInt64 && value >= 0 ? (long)(ulong)value : (long)value;

    /// <summary>The least value of a type.</summary>
    public static long MinValue(DataType type) => type switch
    {
        DataType.Int64 => long.MinValue,
        _ when type.ToString().StartsWith("Int", StringComparison.Ordinal) => -1L << (type.BitWidth() - 1),
        _ => 0,
    };

    /// <summary>The greatest value of a type.</summary>
    public static long MaxValue(DataType type) => type switch
    {
        DataType.Bool => 1,
        DataType.UInt64 => -1,
        DataType.Int64 => long.MaxValue,
        _ when MinValue(type) < 0 => ~MinValue(type),
        _ => (1L << type.BitWidth()) - 1,
    };
}
