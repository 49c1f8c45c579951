using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;

namespace OrtQLoRA.Graph.Adapters.LoHa;

/// <summary>Options of LoHa, named as in PEFT's <c>LoHaConfig</c>.</summary>
public sealed class LoHaConfig : TargetedConfig
{
    private static readonly IReadOnlyDictionary<string, JsonNode?> Defaults = Keys(
        """
        {"alpha": 8, "alpha_pattern": {}, "exclude_modules": null, "init_weights": true, "layers_pattern": null, "layers_to_transform": null,
         "module_dropout": 0.0, "r": 8, "rank_dropout": 0.0, "rank_pattern": {}, "target_modules": null, "use_effective_conv2d": false}
        """);

    /// <inheritdoc/>
    public override string? PeftType => LoHaMethod.Type;

    /// <summary><c>r</c>: rank of each of the two factors. Default 8.</summary>
    public int Rank { get; set; } = 8;

    /// <summary><c>alpha</c>. Default 8.</summary>
    public double Alpha { get; set; } = 8;

    /// <summary><c>init_weights</c>: whether the change starts at zero.</summary>
    public bool StartsAtZero { get; set; } = true;

    /// <inheritdoc/>
    protected internal override IReadOnlyDictionary<string, JsonNode?> DefaultKeys => Defaults;

    internal static LoHaConfig FromJson(JsonObject json, string source)
    {
        LoHaConfig config = new();
        return Read(
            config,
            json,
            source,
            reader =>
            {
                config.Rank = reader.Integer("r", 8);
                config.Alpha = reader.Number("alpha", 8);
                config.StartsAtZero = reader.Flag("init_weights", true);
            },
            "rank_dropout",
            "module_dropout");
    }

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() =>
        [Key("r", Rank), Key("alpha", Number(Alpha)), Key("init_weights", StartsAtZero)];

    /// <inheritdoc/>
    protected override IEnumerable<string> Faults() => RankFaults.Of(Rank, Alpha, "alpha", RankPattern);
}
