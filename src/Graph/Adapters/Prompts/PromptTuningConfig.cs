using System.Text.Json.Nodes;

namespace OrtQLoRA.Graph.Adapters.Prompts;

/// <summary>Options of prompt tuning, named as in PEFT's <c>PromptTuningConfig</c>.</summary>
public sealed class PromptTuningConfig : PromptConfig
{
    /// <inheritdoc/>
    public override string? PeftType => PromptTuningMethod.Type;

    /// <summary>
    /// <c>prompt_tuning_init</c>: <c>RANDOM</c> (standard normal, the default) or <c>SAMPLE_VOCAB</c> (rows of the embedding). <c>TEXT</c> comes
    /// with an adapter's file only.
    /// </summary>
    public string Initialization { get; set; } = "RANDOM";

    internal static PromptTuningConfig FromJson(JsonObject json, string source)
    {
        PromptTuningConfig config = new();
        return Read(config, json, source, reader =>
        {
            config.Initialization = reader.Text("prompt_tuning_init")?.ToUpperInvariant() ?? "RANDOM";
            if (config.Initialization is not ("RANDOM" or "SAMPLE_VOCAB" or "TEXT"))
            {
                reader.Fault($"prompt_tuning_init is '{config.Initialization}'; RANDOM or SAMPLE_VOCAB is expected, or TEXT for an adapter that has its values.");
            }
        });
    }

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() =>
    [
        new("prompt_tuning_init", Initialization),
        new("prompt_tuning_init_text", null),
        new("tokenizer_kwargs", null),
        new("tokenizer_name_or_path", null),
    ];
}
