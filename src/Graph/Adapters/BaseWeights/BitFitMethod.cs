using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.BaseWeights;

/// <summary>BitFit (Ben Zaken et al. 2021): every bias is trained, and the modules to save.</summary>
public sealed class BitFitMethod : IAdapterMethod
{
    /// <inheritdoc/>
    public string Name => "bitfit";

    /// <inheritdoc/>
    public string? PeftType => null;

    /// <inheritdoc/>
    public IReadOnlySet<string> Keys => BaseWeightConfig.Keys;

    /// <inheritdoc/>
    public AdapterConfig ReadConfig(JsonObject json, string source) => BaseWeightConfig.FromJson(json, source);

    /// <inheritdoc/>
    public AdapterPlan Plan(LinearSites sites, AdapterConfig config)
    {
        ArgumentNullException.ThrowIfNull(sites);
        return BaseWeightPlan.Create(Name, sites, config, p => p.IsBias);
    }
}
