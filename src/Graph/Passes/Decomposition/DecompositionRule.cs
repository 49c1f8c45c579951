using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>How one fused operator is written with operators that have gradients.</summary>
/// <param name="Domain">Domain of the fused operator.</param>
/// <param name="OpType">The fused operator.</param>
/// <param name="Rewrite">Emits the nodes; returns one value for each output, null for outputs that nobody reads.</param>
/// <param name="Refusal">Why a call cannot be written so, as a sentence that says what would help; null if it can.</param>
internal sealed record DecompositionRule(
    string Domain, string OpType, Func<DecompositionContext, IReadOnlyList<Value?>> Rewrite, Func<Node, string?>? Refusal = null);
