using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Prompts;

/// <summary>Prefix tuning (Li and Liang 2021, arXiv 2101.00190): trained keys and values stand in front of every layer's own.</summary>
public sealed class PrefixTuningMethod : IAdapterMethod
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "PREFIX_TUNING";

    /// <inheritdoc/>
    public string Name => "prefix-tuning";

    /// <inheritdoc/>
    public string? PeftType => Type;

    /// <inheritdoc/>
    public IReadOnlySet<string> Keys => PromptConfig.CommonKeys;

    /// <inheritdoc/>
    public AdapterConfig ReadConfig(JsonObject json, string source) => PrefixTuningConfig.FromJson(json, source);

    /// <inheritdoc/>
    public AdapterPlan Plan(LinearSites sites, AdapterConfig config) => config is PrefixTuningConfig options
        ? new PrefixTuningPlan(options, sites)
        : throw new ArgumentException($"Prefix tuning takes a {nameof(PrefixTuningConfig)}, not a {config?.GetType().Name}.", nameof(config));
}
