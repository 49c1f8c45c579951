using System.Diagnostics.CodeAnalysis;
using OrtQLoRA.Graph.Gradients.Rules;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>Gradient rules by domain and operator.</summary>
public sealed class GradientRuleRegistry
{
    private readonly Dictionary<(string Domain, string OpType), GradientRule> _rules = [];

    /// <summary>An empty registry; see <see cref="CreateDefault"/>.</summary>
    public GradientRuleRegistry()
    {
    }

    /// <summary>Registered operators, ordered by domain and name.</summary>
    public IReadOnlyList<(string Domain, string OpType)> Operators =>
        [.. _rules.Keys.OrderBy(k => k.Domain, StringComparer.Ordinal).ThenBy(k => k.OpType, StringComparer.Ordinal)];

    /// <summary>A registry of all rules of this library, to which others (custom operators) may be added.</summary>
    public static GradientRuleRegistry CreateDefault()
    {
        GradientRuleRegistry rules = new();
        ElementwiseRules.Register(rules);
        ActivationRules.Register(rules);
        SelectionRules.Register(rules);
        ShapeRules.Register(rules);
        IndexingRules.Register(rules);
        ReductionRules.Register(rules);
        MatMulRules.Register(rules);
        SoftmaxRules.Register(rules);
        NormalizationRules.Register(rules);
        ConvolutionRules.Register(rules);
        RecurrentRules.Register(rules);
        LossRules.Register(rules);
        return rules;
    }

    /// <summary>Adds a rule.</summary>
    /// <param name="opType">Operator.</param>
    /// <param name="rule">Its rule.</param>
    /// <param name="domain">Domain; empty for ONNX's own operators.</param>
    /// <returns>This registry.</returns>
    /// <exception cref="ArgumentException">
    /// The name is empty, the operator has a rule already, or it stands among <see cref="NonDifferentiableOps"/>.
    /// </exception>
    public GradientRuleRegistry Add(string opType, GradientRule rule, string domain = "")
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(opType);
        ArgumentNullException.ThrowIfNull(rule);
        ArgumentNullException.ThrowIfNull(domain);
        domain = Node.NormaliseDomain(domain);
        if (NonDifferentiableOps.Contains(opType, domain))
        {
            throw new ArgumentException($"{Name(domain, opType)} is listed among the non-differentiable operators; take it off that list to give it a rule.", nameof(opType));
        }

        if (!_rules.TryAdd((domain, opType), rule))
        {
            throw new ArgumentException($"{Name(domain, opType)} has a gradient rule already.", nameof(opType));
        }

        return this;
    }

    /// <summary>Finds the rule of a node's operator.</summary>
    public bool TryGet(Node node, [NotNullWhen(true)] out GradientRule? rule) => _rules.TryGetValue((node.Domain, node.OpType), out rule);

    /// <summary>Finds the rule of an operator.</summary>
    /// <exception cref="KeyNotFoundException">There is none; the message lists the operators that have one.</exception>
    public GradientRule Get(string opType, string domain = "") => _rules.TryGetValue((Node.NormaliseDomain(domain), opType), out GradientRule? rule)
        ? rule
        : throw new KeyNotFoundException($"No gradient rule for {Name(Node.NormaliseDomain(domain), opType)}. {DescribeKnown(Node.NormaliseDomain(domain))}");

    /// <summary>A sentence that lists the operators of a domain that have a rule, for error messages.</summary>
    internal string DescribeKnown(string domain)
    {
        string[] known = [.. Operators.Where(o => o.Domain == domain).Select(o => o.OpType)];
        string where = domain.Length == 0 ? "ONNX's own operators" : $"domain '{domain}'";
        return known.Length == 0 ? $"No operator of {where} has a rule." : $"Rules of {where}: {string.Join(", ", known)}.";
    }

    private static string Name(string domain, string opType) => $"'{opType}'{(domain.Length == 0 ? "" : $" of domain '{domain}'")}";
}
