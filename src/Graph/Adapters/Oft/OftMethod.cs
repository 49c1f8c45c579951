using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Oft;

/// <summary>
/// Orthogonal fine-tuning (Qiu et al. 2023, arXiv 2306.07280; Qiu et al. 2025 for the series): the input of a layer is rotated block
/// by block.
/// </summary>
public sealed class OftMethod : TargetedMethod<OftConfig>
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "OFT";

    /// <inheritdoc/>
    public override string Name => "oft";

    /// <inheritdoc/>
    public override string? PeftType => Type;

    /// <inheritdoc/>
    public override AdapterConfig ReadConfig(JsonObject json, string source) => OftConfig.FromJson(json, source);

    /// <inheritdoc/>
    protected override AdapterPlan Plan(LinearSites sites, OftConfig config, IReadOnlyList<LinearModule> modules)
    {
        config.FanInFanOut ??= modules.All(m => ParameterFinder.IsConv1D(m.Sites[0]));
        return new OftPlan(config, sites, modules);
    }
}
