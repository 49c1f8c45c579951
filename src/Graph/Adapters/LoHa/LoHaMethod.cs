using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.LoHa;

/// <summary>
/// LoHa (Hyeon-Woo et al. 2022, arXiv 2108.06098; Yeh et al. 2023): the change of a weight is the elementwise product of two
/// low-rank matrices, of rank up to r^2.
/// </summary>
public sealed class LoHaMethod : TargetedMethod<LoHaConfig>
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "LOHA";

    /// <inheritdoc/>
    public override string Name => "loha";

    /// <inheritdoc/>
    public override string? PeftType => Type;

    /// <inheritdoc/>
    public override AdapterConfig ReadConfig(JsonObject json, string source) => LoHaConfig.FromJson(json, source);

    /// <inheritdoc/>
    protected override AdapterPlan Plan(LinearSites sites, LoHaConfig config, IReadOnlyList<LinearModule> modules) => new LoHaPlan(config, sites, modules);
}
