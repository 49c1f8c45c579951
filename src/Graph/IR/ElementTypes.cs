namespace OrtQLoRA.Graph.IR;

/// <summary>The element type that stands for a .NET type.</summary>
public static class ElementTypes
{
    /// <summary>Element type of <typeparamref name="T"/>.</summary>
    /// <exception cref="NotSupportedException">ONNX has no such type.</exception>
    public static DataType Of<T>()
        where T : unmanaged
    {
        Type type = typeof(T);
        return type == typeof(float) ? DataType.Float
            : type == typeof(double) ? DataType.Double
            : type == typeof(Half) ? DataType.Float16
            : type == typeof(long) ? DataType.Int64
            : type == typeof(int) ? DataType.Int32
            : type == typeof(short) ? DataType.Int16
            : type == typeof(sbyte) ? DataType.Int8
            : type == typeof(ulong) ? DataType.UInt64
            : type == typeof(uint) ? DataType.UInt32
            : type == typeof(ushort) ? DataType.UInt16
            : type == typeof(byte) ? DataType.UInt8
            : type == typeof(bool) ? DataType.Bool
            : throw new NotSupportedException($"ONNX has no element type for {type.Name}.");
    }
}
