using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;

namespace OrtQLoRA.Graph.Adapters.TrainableTokens;

/// <summary>Options of trainable tokens, named as in PEFT's <c>TrainableTokensConfig</c>.</summary>
public sealed class TrainableTokensConfig : TargetedConfig
{
    private static readonly IReadOnlyDictionary<string, JsonNode?> Defaults = Keys("""{"init_weights": true, "target_modules": null, "token_indices": []}""");

    /// <inheritdoc/>
    public override string? PeftType => TrainableTokensMethod.Type;

    /// <summary><c>token_indices</c>: ids of the tokens whose rows are trained, in the order of the tensor's rows.</summary>
    public IReadOnlyList<int> TokenIndices { get; set; } = [];

    /// <summary><c>init_weights</c>: whether rows start as the base's; otherwise standard normal.</summary>
    public bool StartsAtBase { get; set; } = true;

    /// <inheritdoc/>
    protected internal override IReadOnlyDictionary<string, JsonNode?> DefaultKeys => Defaults;

    /// <inheritdoc/>
    public override JsonObject ToJson()
    {
        // PEFT's class knows no modules to save.
        JsonObject json = base.ToJson();
        json.Remove("modules_to_save");
        return json;
    }

    internal static TrainableTokensConfig FromJson(JsonObject json, string source)
    {
        TrainableTokensConfig config = new();
        return Read(config, json, source, reader =>
        {
            config.TokenIndices = reader.Integers("token_indices") ?? [];
            config.StartsAtBase = reader.Flag("init_weights", true);
        });
    }

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() =>
        [Key("token_indices", new JsonArray([.. TokenIndices.Select(i => (JsonNode)i)])), Key("init_weights", StartsAtBase)];

    /// <inheritdoc/>
    protected override IEnumerable<string> Faults() => StartsAtBase
        ? []
        : ["init_weights is false, which would start the rows at random values; true is expected."];
}
