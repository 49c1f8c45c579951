using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.TrainableTokens;

/// <summary>Training of chosen rows of the token embedding, for example of tokens that were added to the vocabulary.</summary>
public sealed class TrainableTokensMethod : TargetedMethod<TrainableTokensConfig>
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "TRAINABLE_TOKENS";

    /// <inheritdoc/>
    public override string Name => "trainable-tokens";

    /// <inheritdoc/>
    public override string? PeftType => Type;

    /// <inheritdoc/>
    protected override IReadOnlyCollection<LinearKind> Kinds => [LinearKind.Embedding];

    /// <inheritdoc/>
    public override AdapterConfig ReadConfig(JsonObject json, string source) => TrainableTokensConfig.FromJson(json, source);

    /// <inheritdoc/>
    protected override ModuleSelector DefaultTargets(LinearSites sites) => ModuleSelector.OfNames(TokenRows.FindEmbedding(sites, "embed_tokens").Path);

    /// <inheritdoc/>
    protected override AdapterPlan Plan(LinearSites sites, TrainableTokensConfig config, IReadOnlyList<LinearModule> modules) =>
        new TrainableTokensPlan(config, sites, modules);
}
