namespace OrtQLoRA.Graph.Inference;

/// <summary>Kinds of factors of a symbolic expression.</summary>
internal enum SymbolicAtomKind
{
    /// <summary>A dimension known by name.</summary>
    Symbol,

    /// <summary>A quotient rounded towards negative infinity.</summary>
    FloorDivision,

    /// <summary>The least of several expressions.</summary>
    Minimum,

    /// <summary>The greatest of several expressions.</summary>
    Maximum,

    /// <summary>The dimension that ONNX's multidirectional broadcasting makes of several.</summary>
    Broadcast,
}
