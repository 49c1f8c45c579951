using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Vera;

/// <summary>
/// VeRA (Kopiczko et al. 2024, arXiv 2310.11454): two frozen random projections that all layers share, and two trained vectors
/// a layer.
/// </summary>
public sealed class VeraMethod : TargetedMethod<VeraConfig>
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "VERA";

    /// <inheritdoc/>
    public override string Name => "vera";

    /// <inheritdoc/>
    public override string? PeftType => Type;

    /// <inheritdoc/>
    public override AdapterConfig ReadConfig(JsonObject json, string source) => VeraConfig.FromJson(json, source);

    /// <inheritdoc/>
    protected override AdapterPlan Plan(LinearSites sites, VeraConfig config, IReadOnlyList<LinearModule> modules)
    {
        config.FanInFanOut ??= modules.All(m => ParameterFinder.IsConv1D(m.Sites[0]));
        return new VeraPlan(config, sites, modules);
    }
}
