using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.OpsetUpgrade;

/// <summary>How a node changes when its operator does.</summary>
/// <param name="OpType">The operator, as it was called before.</param>
/// <param name="Version">The opset that changed it; nodes of earlier opsets are rewritten.</param>
/// <param name="Rewrite">Brings the node to that version. Returns the node that now is in its place, or null if no rule can apply to what is.</param>
internal sealed record UpgradeRule(string OpType, long Version, Func<UpgradeContext, Node?> Rewrite);
