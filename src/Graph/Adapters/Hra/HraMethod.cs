using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Hra;

/// <summary>Householder reflection adaptation (Yuan et al. 2024, arXiv 2405.17484): the input of a layer is reflected r times.</summary>
public sealed class HraMethod : TargetedMethod<HraConfig>
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "HRA";

    /// <inheritdoc/>
    public override string Name => "hra";

    /// <inheritdoc/>
    public override string? PeftType => Type;

    /// <inheritdoc/>
    public override AdapterConfig ReadConfig(JsonObject json, string source) => HraConfig.FromJson(json, source);

    /// <inheritdoc/>
    protected override AdapterPlan Plan(LinearSites sites, HraConfig config, IReadOnlyList<LinearModule> modules) => new HraPlan(config, sites, modules);
}
