using System.Diagnostics.CodeAnalysis;
using OrtQLoRA.Graph.Inference.Rules;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference;

/// <summary>The rules by domain and operator. Each themed file under Rules registers its own.</summary>
internal sealed class OperatorRegistry
{
    private static readonly OperatorRegistry Default = Create();
    private readonly Dictionary<(string Domain, string OpType), InferenceRule> _rules = [];
    private readonly Dictionary<(string Domain, string OpType), ContentRule> _contentRules = [];

    /// <summary>Every operator that has a rule: domain and name.</summary>
    internal static IReadOnlyCollection<(string Domain, string OpType)> Operators => Default._rules.Keys;

    internal static bool TryGetRule(Node node, [NotNullWhen(true)] out InferenceRule? rule) =>
        Default._rules.TryGetValue((node.Domain, node.OpType), out rule);

    internal static bool TryGetContentRule(Node node, [NotNullWhen(true)] out ContentRule? rule) =>
        Default._contentRules.TryGetValue((node.Domain, node.OpType), out rule);

    /// <summary>Registers one rule for operators of ONNX's own domain.</summary>
    internal void Add(InferenceRule rule, params ReadOnlySpan<string> opTypes) => AddTo("", rule, opTypes);

    /// <summary>Registers one rule for operators of a domain.</summary>
    /// <exception cref="ArgumentException">An operator has a rule already.</exception>
    internal void AddTo(string domain, InferenceRule rule, params ReadOnlySpan<string> opTypes)
    {
        foreach (string opType in opTypes)
        {
            if (!_rules.TryAdd((domain, opType), rule))
            {
                throw new ArgumentException($"Two inference rules are registered for '{opType}' of domain '{domain}'.", nameof(opTypes));
            }
        }
    }

    /// <summary>Registers a content rule for operators of ONNX's own domain.</summary>
    /// <exception cref="ArgumentException">An operator has one already.</exception>
    internal void AddContent(ContentRule rule, params ReadOnlySpan<string> opTypes)
    {
        foreach (string opType in opTypes)
        {
            if (!_contentRules.TryAdd(("", opType), rule))
            {
                throw new ArgumentException($"Two content rules are registered for '{opType}'.", nameof(opTypes));
            }
        }
    }

    private static OperatorRegistry Create()
    {
        OperatorRegistry registry = new();
        ElementwiseRules.Register(registry);
        ConversionRules.Register(registry);
        ReductionRules.Register(registry);
        MatrixRules.Register(registry);
        ReshapeRules.Register(registry);
        LayoutRules.Register(registry);
        IndexingRules.Register(registry);
        CreationRules.Register(registry);
        NormalizationRules.Register(registry);
        ConvolutionRules.Register(registry);
        ResizeRules.Register(registry);
        RecurrentRules.Register(registry);
        SpectralRules.Register(registry);
        LossRules.Register(registry);
        AttentionRules.Register(registry);
        ContribRules.Register(registry);
        Int8MatrixRules.Register(registry);
        NativeOperatorRules.Register(registry);
        TrainingRules.Register(registry);
        ControlFlowRules.Register(registry);
        ContentRules.Register(registry);
        return registry;
    }
}
