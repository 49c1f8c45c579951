using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;

namespace OrtQLoRA.Graph.Adapters.Hra;

/// <summary>Options of HRA, named as in PEFT's <c>HRAConfig</c>.</summary>
public sealed class HraConfig : TargetedConfig
{
    private static readonly IReadOnlyDictionary<string, JsonNode?> Defaults = Keys(
        """
        {"apply_GS": false, "bias": "none", "exclude_modules": null, "init_weights": true, "layers_pattern": null, "layers_to_transform": null,
         "r": 8, "target_modules": null}
        """);

    /// <inheritdoc/>
    public override string? PeftType => HraMethod.Type;

    /// <summary><c>r</c>: number of reflections. Default 8; even numbers start as the identity.</summary>
    public int Rank { get; set; } = 8;

    /// <summary><c>apply_GS</c>: whether the vectors are made orthogonal first (Gram-Schmidt).</summary>
    public bool Orthogonalizes { get; set; }

    /// <summary><c>init_weights</c>: whether vectors start in equal pairs, whose reflections cancel.</summary>
    public bool StartsInPairs { get; set; } = true;

    /// <inheritdoc/>
    protected internal override IReadOnlyDictionary<string, JsonNode?> DefaultKeys => Defaults;

    internal static HraConfig FromJson(JsonObject json, string source)
    {
        HraConfig config = new();
        return Read(config, json, source, reader =>
        {
            config.Rank = reader.Integer("r", 8);
            config.Orthogonalizes = reader.Flag("apply_GS", false);
            config.StartsInPairs = reader.Flag("init_weights", true);
        });
    }

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() =>
        [Key("r", Rank), Key("apply_GS", Orthogonalizes), Key("init_weights", StartsInPairs)];

    /// <inheritdoc/>
    protected override IEnumerable<string> Faults() => Rank < 1 ? [$"r is {Rank}; 1 or more is expected."] : [];
}
