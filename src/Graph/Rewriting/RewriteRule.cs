using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting;

/// <summary>
/// Replaces one pattern of nodes by an equal one. A rule is anchored at the last node of its pattern; when that
/// does not fit, it says why and at which value, so that a missed fusion can be understood.
/// </summary>
public abstract class RewriteRule
{
    /// <summary>Name for reports: the class name.</summary>
    public virtual string Name => GetType().Name;

    /// <summary>Operators of the native library that the rule leads to, its gradient's included; empty for a rule without any.</summary>
    public virtual IReadOnlyList<string> NativeOperators => [];

    /// <summary>Rewrites the pattern that ends in a node, if it is there.</summary>
    /// <param name="node">Candidate for the pattern's last node.</param>
    /// <param name="opset">Version of ONNX's own operator set.</param>
    /// <returns>
    /// <see cref="RewriteResult.Applied"/> if the graph changed; the replaced nodes may be left behind without
    /// readers, for dead-node elimination to remove.
    /// </returns>
    public abstract RewriteResult TryRewrite(Node node, long opset);
}
