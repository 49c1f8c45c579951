namespace OrtQLoRA.Graph.IR;

/// <summary>Element types, numbered as ONNX's TensorProto.DataType.</summary>
public enum DataType
{
    /// <summary>Unknown or not a tensor.</summary>
    Undefined = 0,

    /// <summary>IEEE 32-bit float.</summary>
    Float = 1,

    /// <summary>Unsigned 8-bit integer.</summary>
    UInt8 = 2,

    /// <summary>Signed 8-bit integer.</summary>
    Int8 = 3,

    /// <summary>Unsigned 16-bit integer.</summary>
    UInt16 = 4,

    /// <summary>Signed 16-bit integer.</summary>
    Int16 = 5,

    /// <summary>Signed 32-bit integer.</summary>
    Int32 = 6,

    /// <summary>Signed 64-bit integer.</summary>
    Int64 = 7,

    /// <summary>Byte strings, usually UTF-8.</summary>
    String = 8,

    /// <summary>One byte an element, 0 or 1.</summary>
    Bool = 9,

    /// <summary>IEEE 16-bit float.</summary>
    Float16 = 10,

    /// <summary>IEEE 64-bit float.</summary>
    Double = 11,

    /// <summary>Unsigned 32-bit integer.</summary>
    UInt32 = 12,

    /// <summary>Unsigned 64-bit integer.</summary>
    UInt64 = 13,

    /// <summary>Two 32-bit floats.</summary>
    Complex64 = 14,

    /// <summary>Two 64-bit floats.</summary>
    Complex128 = 15,

    /// <summary>Upper half of a 32-bit float.</summary>
    BFloat16 = 16,

    /// <summary>8-bit float, 4 exponent bits, finite.</summary>
    Float8E4M3FN = 17,

    /// <summary>8-bit float, 4 exponent bits, finite, no negative zero.</summary>
    Float8E4M3FNUZ = 18,

    /// <summary>8-bit float, 5 exponent bits.</summary>
    Float8E5M2 = 19,

    /// <summary>8-bit float, 5 exponent bits, no negative zero.</summary>
    Float8E5M2FNUZ = 20,

    /// <summary>Unsigned 4-bit integer, two an octet, low half first.</summary>
    UInt4 = 21,

    /// <summary>Signed 4-bit integer, two an octet, low half first.</summary>
    Int4 = 22,

    /// <summary>4-bit float, two an octet, low half first.</summary>
    Float4E2M1 = 23,

    /// <summary>8-bit exponent, a power of two.</summary>
    Float8E8M0 = 24,

    /// <summary>Unsigned 2-bit integer, four an octet.</summary>
    UInt2 = 25,

    /// <summary>Signed 2-bit integer, four an octet.</summary>
    Int2 = 26,
}
