using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Prompts;

/// <summary>Prompt tuning (Lester et al. 2021, arXiv 2104.08691): trained rows stand in front of the token embeddings.</summary>
public sealed class PromptTuningMethod : IAdapterMethod
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "PROMPT_TUNING";

    /// <inheritdoc/>
    public string Name => "prompt-tuning";

    /// <inheritdoc/>
    public string? PeftType => Type;

    /// <inheritdoc/>
    public IReadOnlySet<string> Keys => PromptConfig.CommonKeys;

    /// <inheritdoc/>
    public AdapterConfig ReadConfig(JsonObject json, string source) => PromptTuningConfig.FromJson(json, source);

    /// <inheritdoc/>
    public AdapterPlan Plan(LinearSites sites, AdapterConfig config) => config is PromptTuningConfig options
        ? new PromptTuningPlan(options, sites)
        : throw new ArgumentException($"Prompt tuning takes a {nameof(PromptTuningConfig)}, not a {config?.GetType().Name}.", nameof(config));
}
