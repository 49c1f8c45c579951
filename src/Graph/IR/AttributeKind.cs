namespace OrtQLoRA.Graph.IR;

/// <summary>Kinds of node attributes, numbered as ONNX's AttributeProto.AttributeType.</summary>
public enum AttributeKind
{
    /// <summary>Kind not stated.</summary>
    Undefined = 0,

    /// <summary>A float.</summary>
    Float = 1,

    /// <summary>A 64-bit integer.</summary>
    Int = 2,

    /// <summary>A byte string.</summary>
    String = 3,

    /// <summary>A tensor.</summary>
    Tensor = 4,

    /// <summary>A subgraph.</summary>
    Graph = 5,

    /// <summary>Several floats.</summary>
    Floats = 6,

    /// <summary>Several integers.</summary>
    Ints = 7,

    /// <summary>Several byte strings.</summary>
    Strings = 8,

    /// <summary>Several tensors.</summary>
    Tensors = 9,

    /// <summary>Several subgraphs.</summary>
    Graphs = 10,

    /// <summary>A sparse tensor; kept as its serialized bytes.</summary>
    SparseTensor = 11,

    /// <summary>Several sparse tensors; kept as their serialized bytes.</summary>
    SparseTensors = 12,

    /// <summary>A type.</summary>
    Type = 13,

    /// <summary>Several types.</summary>
    Types = 14,
}
