using System.Text.RegularExpressions;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears.Naming;

namespace OrtQLoRA.Graph.Linears;

/// <summary>
/// Tells norms whose initializer is PyTorch's parameter plus 1. Gemma's norms and some others compute
/// <c>x * (1 + weight)</c>, and exporters fold the sum into one initializer.
/// </summary>
/// <remarks>
/// What speaks for it, best first: the exporter's own name of a folded sum (<c>add_132</c>); the norm's class in the exporter's
/// metadata; the architecture that a configuration beside the model names; token embeddings times the square root of their
/// width, which together with a norm computed from its parameter is Gemma's alone. An initializer under the parameter's own
/// name is the parameter, but for the GenAI builder, which names sums after it.
/// </remarks>
internal sealed partial class FoldedNorms
{
    // Gemma3n and Gemma 4 multiply by the weight itself.
    private static readonly HashSet<string> Classes = new(StringComparer.Ordinal)
    {
        "GemmaRMSNorm", "Gemma2RMSNorm", "Gemma3RMSNorm", "RecurrentGemmaRMSNorm", "T5GemmaRMSNorm", "T5Gemma2RMSNorm", "VaultGemmaRMSNorm",
        "Qwen3NextRMSNorm", "Qwen3_5RMSNorm", "Qwen3_5MoeRMSNorm", "NemotronLayerNorm1P",
    };

    private static readonly HashSet<string> ModelTypes = new(StringComparer.Ordinal)
    {
        "gemma", "gemma2", "gemma3", "gemma3_text", "recurrent_gemma", "paligemma", "t5gemma", "t5gemma2", "vaultgemma",
        "qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "nemotron",
    };

    private readonly OnnxModel _model;
    private readonly LinearSites _sites;
    private readonly Lazy<bool> _isNamed;

    public FoldedNorms(OnnxModel model, LinearSites sites)
    {
        _model = model;
        _sites = sites;
        _isNamed = new Lazy<bool>(() => (_model.ModelType is { } type && ModelTypes.Contains(type)) || _sites.Sites.Any(HasScaledResult));
    }

    /// <summary>What the initializer of a norm's weight holds beyond the parameter: 1, or 0 where it is the parameter.</summary>
    /// <param name="weight">The initializer.</param>
    /// <param name="isBuilders">Whether the GenAI builder wrote the model.</param>
    public float OffsetOf(Value weight, bool isBuilders)
    {
        if (!InitializerNames.IsAnonymous(weight.Name))
        {
            return isBuilders && InitializerNames.EndsAsWeight(weight.Name) && _isNamed.Value ? 1 : 0;
        }

        return Sum().IsMatch(weight.Name) || weight.Uses.Any(u => ClassOf(u.Node) is { } name && Classes.Contains(name)) || _isNamed.Value ? 1 : 0;
    }

    private static string? ClassOf(Node node) =>
        node.Metadata.TryGetValue("pkg.torch.onnx.class_hierarchy", out string? classes) && Quoted().Matches(classes) is { Count: >= 2 } found
            ? found[^2].Groups[1].Value[(found[^2].Groups[1].Value.LastIndexOf('.') + 1)..]
            : null;

    // The factor may be rounded: to bfloat16 by PyTorch, to two decimals by the GenAI builder.
    private static bool HasScaledResult(LinearSite site) =>
        site.Kind == LinearKind.Embedding && site.Product.Uses.Select(u => u.Node).Any(
            n => n.Is("Mul") && n.Inputs.Any(i => ConstantContent.DefaultScalar(i) is { } factor && Math.Abs((factor / Math.Sqrt(site.OutFeatures)) - 1) < 0.005));

    [GeneratedRegex(@"^add_\d+$")]
    private static partial Regex Sum();

    [GeneratedRegex(@"'([^']*)'")]
    private static partial Regex Quoted();
}
