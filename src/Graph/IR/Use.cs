namespace OrtQLoRA.Graph.IR;

/// <summary>One place where a value is read.</summary>
/// <param name="Node">The reader; it may lie in a subgraph of the value's graph.</param>
/// <param name="Index">Position among the reader's inputs.</param>
public readonly record struct Use(Node Node, int Index);
