namespace OrtQLoRA.Graph.IR;

/// <summary>The type of a value: a tensor in nearly all models, or one of ONNX's containers.</summary>
public abstract record OnnxType
{
    /// <summary>A dense tensor.</summary>
    /// <param name="ElementType">Element type.</param>
    /// <param name="Shape">Shape, or null where not even the rank is known.</param>
    public sealed record Tensor(DataType ElementType, Shape? Shape) : OnnxType;

    /// <summary>A sparse tensor.</summary>
    /// <param name="ElementType">Element type.</param>
    /// <param name="Shape">Shape, or null where not even the rank is known.</param>
    public sealed record SparseTensor(DataType ElementType, Shape? Shape) : OnnxType;

    /// <summary>A sequence of values of one type.</summary>
    /// <param name="Element">Type of the elements, or null if the model leaves it out.</param>
    public sealed record Sequence(OnnxType? Element) : OnnxType;

    /// <summary>A value that may be absent.</summary>
    /// <param name="Element">Type of the value, or null if the model leaves it out.</param>
    public sealed record Optional(OnnxType? Element) : OnnxType;

    /// <summary>A map.</summary>
    /// <param name="Key">Key type: an integer or string.</param>
    /// <param name="Value">Type of the values, or null if the model leaves it out.</param>
    public sealed record Map(DataType Key, OnnxType? Value) : OnnxType;

    /// <summary>A type that this version of the IR does not model; kept as its serialized bytes.</summary>
    /// <param name="Bytes">The serialized TypeProto.</param>
    public sealed record Unmodelled(ReadOnlyMemory<byte> Bytes) : OnnxType;
}
