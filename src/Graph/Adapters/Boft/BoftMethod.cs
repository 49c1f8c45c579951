using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Boft;

/// <summary>
/// BOFT (Liu et al. 2024, arXiv 2311.06243) with one factor: the input of a layer is rotated block by block, and its result scaled.
/// </summary>
public sealed class BoftMethod : TargetedMethod<BoftConfig>
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "BOFT";

    /// <inheritdoc/>
    public override string Name => "boft";

    /// <inheritdoc/>
    public override string? PeftType => Type;

    /// <inheritdoc/>
    public override AdapterConfig ReadConfig(JsonObject json, string source) => BoftConfig.FromJson(json, source);

    /// <inheritdoc/>
    protected override AdapterPlan Plan(LinearSites sites, BoftConfig config, IReadOnlyList<LinearModule> modules)
    {
        config.FanInFanOut ??= modules.All(m => ParameterFinder.IsConv1D(m.Sites[0]));
        return new BoftPlan(config, sites, modules);
    }
}
