using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.AdaLora;

/// <summary>
/// AdaLoRA (Zhang et al. 2023, arXiv 2303.10512): LoRA in the form of a singular value decomposition, whose values are pruned in
/// training where they matter least.
/// </summary>
public sealed class AdaLoraMethod : TargetedMethod<AdaLoraConfig>
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "ADALORA";

    /// <inheritdoc/>
    public override string Name => "adalora";

    /// <inheritdoc/>
    public override string? PeftType => Type;

    /// <inheritdoc/>
    public override AdapterConfig ReadConfig(JsonObject json, string source) => AdaLoraConfig.FromJson(json, source);

    /// <inheritdoc/>
    protected override AdapterPlan Plan(LinearSites sites, AdaLoraConfig config, IReadOnlyList<LinearModule> modules)
    {
        config.FanInFanOut ??= modules.All(m => ParameterFinder.IsConv1D(m.Sites[0]));
        return new AdaLoraPlan(config, sites, modules);
    }
}
