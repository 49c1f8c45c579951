namespace OrtQLoRA.Graph.Passes;

/// <summary>How large tensors may be that constant folding reads and writes.</summary>
/// <param name="MaxOutputElements">A result with more elements stays a node, so that weights are not duplicated.</param>
/// <param name="MaxInputElements">Nodes that read more elements than this in all are left alone; the evaluator is no fast calculator.</param>
/// <param name="MaxGrowth">A result that has more elements than this and than all inputs together stays a node: the node is the shorter description.</param>
public sealed record FoldingLimits(long MaxOutputElements = 1 << 16, long MaxInputElements = 1 << 22, long MaxGrowth = 1 << 12);
