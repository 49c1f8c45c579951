using System.Text.Json.Nodes;

namespace OrtQLoRA.Graph.Adapters.Prompts;

/// <summary>Options of prefix tuning, named as in PEFT's <c>PrefixTuningConfig</c>.</summary>
public sealed class PrefixTuningConfig : PromptConfig
{
    /// <inheritdoc/>
    public override string? PeftType => PrefixTuningMethod.Type;

    internal static PrefixTuningConfig FromJson(JsonObject json, string source) => Read(new PrefixTuningConfig(), json, source, reader =>
    {
        if (!reader.IsUnset("prefix_projection"))
        {
            reader.Fault("prefix_projection is true, which is not supported: PEFT writes the projected prefix without the projection, so that such an adapter loads with prefix_projection false, but cannot be trained on.");
        }
    });

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() =>
    [
        new("encoder_hidden_size", TokenDim),
        new("init_weights", null),
        new("prefix_projection", false),
    ];
}
