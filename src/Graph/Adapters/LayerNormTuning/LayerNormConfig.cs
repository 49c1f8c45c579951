using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;

namespace OrtQLoRA.Graph.Adapters.LayerNormTuning;

/// <summary>Options of LayerNorm tuning, named as in PEFT's <c>LNTuningConfig</c>.</summary>
public sealed class LayerNormConfig : TargetedConfig
{
    private static readonly IReadOnlyDictionary<string, JsonNode?> Defaults = Keys("""{"exclude_modules": null, "target_modules": null}""");

    /// <inheritdoc/>
    public override string? PeftType => LayerNormMethod.Type;

    /// <inheritdoc/>
    protected internal override IReadOnlyDictionary<string, JsonNode?> DefaultKeys => Defaults;

    internal static LayerNormConfig FromJson(JsonObject json, string source) => Read(new LayerNormConfig(), json, source, _ => { });

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() => [];
}
