using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting;

/// <summary>What a rewrite rule did at a node.</summary>
/// <param name="IsApplied">Whether the graph changed.</param>
/// <param name="Reason">Why not, if the node began to match; null if it is another operator altogether.</param>
/// <param name="At">The value at which the match failed.</param>
public readonly record struct RewriteResult(bool IsApplied, string? Reason = null, Value? At = null)
{
    /// <summary>The graph changed.</summary>
    public static RewriteResult Applied { get; } = new(true);

    /// <summary>The node is not the pattern's operator.</summary>
    public static RewriteResult NoMatch { get; } = new(false);

    /// <summary>The node began to match but then did not.</summary>
    public static RewriteResult Failed(string reason, Value? at) => new(false, reason, at);
}
