using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Graph.Rewriting;

/// <summary>Applies rewrite rules at every node of the main graph and keeps count of what they did.</summary>
public sealed class RewritePass : GraphPass
{
    private readonly IReadOnlyList<RewriteRule> _rules;
    private readonly Dictionary<string, int> _applied = new(StringComparer.Ordinal);
    private readonly List<string> _misses = [];

    /// <summary>Creates a pass.</summary>
    /// <param name="rules">Rules, tried at each node in this order.</param>
    public RewritePass(params IEnumerable<RewriteRule> rules)
    {
        _rules = [.. rules];
    }

    /// <summary>How often each rule was applied, by name.</summary>
    public IReadOnlyDictionary<string, int> Applied => _applied;

    /// <summary>Patterns that began to match and did not, with the reason and the value.</summary>
    public IReadOnlyList<string> Misses => _misses;

    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        bool changed = false;
        foreach (Node node in model.Graph.Nodes)
        {
            foreach (RewriteRule rule in _rules)
            {
                RewriteResult result = rule.TryRewrite(node, model.Opset);
                if (result.IsApplied)
                {
                    _applied[rule.Name] = _applied.GetValueOrDefault(rule.Name) + 1;
                    changed = true;
                    break;
                }

                if (result.Reason is not null)
                {
                    _misses.Add($"{rule.Name} at {node.Describe()}: {result.Reason}{(result.At is null ? "" : $" (value '{result.At.Name}')")}");
                }
            }
        }

        return changed;
    }
}
