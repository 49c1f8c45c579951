using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.LoKr;

/// <summary>
/// LoKr (Edalati et al. 2022, arXiv 2212.10650; Yeh et al. 2023, arXiv 2309.14859): the change of a weight is a Kronecker
/// product of two small matrices, either of which may be low-rank itself.
/// </summary>
public sealed class LoKrMethod : TargetedMethod<LoKrConfig>
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "LOKR";

    /// <inheritdoc/>
    public override string Name => "lokr";

    /// <inheritdoc/>
    public override string? PeftType => Type;

    /// <inheritdoc/>
    public override AdapterConfig ReadConfig(JsonObject json, string source) => LoKrConfig.FromJson(json, source);

    /// <inheritdoc/>
    protected override AdapterPlan Plan(LinearSites sites, LoKrConfig config, IReadOnlyList<LinearModule> modules) => new LoKrPlan(config, sites, modules);
}
