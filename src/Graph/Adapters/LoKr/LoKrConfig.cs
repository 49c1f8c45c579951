using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;

namespace OrtQLoRA.Graph.Adapters.LoKr;

/// <summary>Options of LoKr, named as in PEFT's <c>LoKrConfig</c>.</summary>
public sealed class LoKrConfig : TargetedConfig
{
    private static readonly IReadOnlyDictionary<string, JsonNode?> Defaults = Keys(
        """
        {"alpha": 8, "alpha_pattern": {}, "decompose_both": false, "decompose_factor": -1, "exclude_modules": null, "init_weights": true,
         "layers_pattern": null, "layers_to_transform": null, "module_dropout": 0.0, "r": 8, "rank_dropout": 0.0, "rank_dropout_scale": false,
         "rank_pattern": {}, "target_modules": null, "use_effective_conv2d": false}
        """);

    /// <inheritdoc/>
    public override string? PeftType => LoKrMethod.Type;

    /// <summary><c>r</c>: rank of the decomposed factors. Default 8.</summary>
    public int Rank { get; set; } = 8;

    /// <summary><c>alpha</c>. Default 8.</summary>
    public double Alpha { get; set; } = 8;

    /// <summary><c>decompose_both</c>: whether the left factor may be decomposed too.</summary>
    public bool DecomposesBoth { get; set; }

    /// <summary><c>decompose_factor</c>: how a dimension is split; -1 nearest to its square root.</summary>
    public int DecomposeFactor { get; set; } = -1;

    /// <summary><c>init_weights</c>.</summary>
    public LoKrInitialization Initialization { get; set; }

    /// <inheritdoc/>
    protected internal override IReadOnlyDictionary<string, JsonNode?> DefaultKeys => Defaults;

    internal static LoKrConfig FromJson(JsonObject json, string source)
    {
        LoKrConfig config = new();
        return Read(
            config,
            json,
            source,
            reader =>
            {
                config.Rank = reader.Integer("r", 8);
                config.Alpha = reader.Number("alpha", 8);
                config.DecomposesBoth = reader.Flag("decompose_both", false);
                config.DecomposeFactor = reader.Integer("decompose_factor", -1);
                config.Initialization = ReadInitialization(reader);
            },
            "rank_dropout",
            "module_dropout");
    }

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() =>
    [
        Key("r", Rank),
        Key("alpha", Number(Alpha)),
        Key("decompose_both", DecomposesBoth),
        Key("decompose_factor", DecomposeFactor),
        Key("init_weights", Initialization switch
        {
            LoKrInitialization.Lycoris => "lycoris",
            LoKrInitialization.Random => false,
            _ => true,
        }),
    ];

    /// <inheritdoc/>
    protected override IEnumerable<string> Faults() => RankFaults.Of(Rank, Alpha, "alpha", RankPattern)
        .Concat(DecomposeFactor is > 0 or -1 ? [] : [$"decompose_factor is {DecomposeFactor}; -1 or a number above 0 is expected."]);

    private static LoKrInitialization ReadInitialization(ConfigReader reader)
    {
        JsonNode? node = reader.Node("init_weights");
        switch (node?.GetValueKind())
        {
            case null or JsonValueKind.True:
                return LoKrInitialization.Default;
            case JsonValueKind.False:
                return LoKrInitialization.Random;
            case JsonValueKind.String when node.GetValue<string>() == "lycoris":
                return LoKrInitialization.Lycoris;
            default:
                reader.Fault($"init_weights is {node.ToJsonString()}; true, false or \"lycoris\" is expected.");
                return LoKrInitialization.Default;
        }
    }
}
