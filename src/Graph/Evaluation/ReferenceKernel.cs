namespace OrtQLoRA.Graph.Evaluation;

/// <summary>Computes the outputs of one node.</summary>
/// <param name="context">The node with its evaluated inputs.</param>
/// <returns>One tensor per output; null, or a shorter list, where an output is not made.</returns>
/// <exception cref="GraphException">The inputs or attributes break the operator's rules.</exception>
public delegate IReadOnlyList<ReferenceTensor?> ReferenceKernel(KernelContext context);
