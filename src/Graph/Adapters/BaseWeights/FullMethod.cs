using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.BaseWeights;

/// <summary>Full fine-tuning: every float parameter of the model, or the chosen ones, is trained.</summary>
public sealed class FullMethod : IAdapterMethod
{
    /// <inheritdoc/>
    public string Name => "full";

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
        if (sites.Modules.Where(m => m.Storage != WeightStorage.Dense).Select(m => m.Path).Take(4).ToArray() is { Length: > 0 } quantized
            && config is BaseWeightConfig { Parameters: null })
        {
            throw new ConfigurationException(
                $"Method 'full' trains every weight, but those of {string.Join(", ", quantized)} and perhaps more are quantized. Train without quantization, use lora, or choose parameters.");
        }

        return BaseWeightPlan.Create(Name, sites, config, _ => true);
    }
}
