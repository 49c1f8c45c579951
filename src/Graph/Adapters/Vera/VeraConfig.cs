using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;

namespace OrtQLoRA.Graph.Adapters.Vera;

/// <summary>Options of VeRA, named as in PEFT's <c>VeraConfig</c>.</summary>
public sealed class VeraConfig : TargetedConfig
{
    private static readonly IReadOnlyDictionary<string, JsonNode?> Defaults = Keys(
        """
        {"bias": "none", "d_initial": 0.1, "fan_in_fan_out": false, "init_weights": true, "layers_pattern": null,
         "layers_to_transform": null, "projection_prng_key": 0, "r": 256, "save_projection": true, "target_modules": null, "vera_dropout": 0.0}
        """);

    /// <inheritdoc/>
    public override string? PeftType => VeraMethod.Type;

    /// <summary><c>r</c>: rank of the shared projections. Default 256.</summary>
    public int Rank { get; set; } = 256;

    /// <summary><c>projection_prng_key</c>: seed of the shared projections.</summary>
    public long ProjectionKey { get; set; }

    /// <summary><c>save_projection</c>: whether files hold the projections; otherwise they are made from the key again.</summary>
    public bool SavesProjection { get; set; } = true;

    /// <summary><c>vera_dropout</c>.</summary>
    public double Dropout { get; set; }

    /// <summary><c>d_initial</c>: first value of the inner vector.</summary>
    public double InitialD { get; set; } = 0.1;

    /// <summary><c>init_weights</c>: whether the outer vector starts at zero; otherwise standard normal.</summary>
    public bool StartsAtZero { get; set; } = true;

    /// <summary><c>fan_in_fan_out</c>: whether PyTorch holds the base weights [in, out]; null: written as found in the model.</summary>
    public bool? FanInFanOut { get; set; }

    /// <inheritdoc/>
    protected internal override IReadOnlyDictionary<string, JsonNode?> DefaultKeys => Defaults;

    internal static VeraConfig FromJson(JsonObject json, string source)
    {
        VeraConfig config = new();
        return Read(
            config,
            json,
            source,
            reader =>
            {
                config.Rank = reader.Integer("r", 256);
                config.ProjectionKey = reader.Integer("projection_prng_key", 0);
                config.SavesProjection = reader.Flag("save_projection", true);
                config.Dropout = reader.Number("vera_dropout", 0);
                config.InitialD = reader.Number("d_initial", 0.1);
                config.StartsAtZero = reader.Flag("init_weights", true);
                config.FanInFanOut = reader.Node("fan_in_fan_out") is null ? null : reader.Flag("fan_in_fan_out", false);
            });
    }

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() =>
    [
        Key("r", Rank),
        Key("projection_prng_key", ProjectionKey),
        Key("save_projection", SavesProjection),
        Key("vera_dropout", Dropout),
        Key("d_initial", InitialD),
        Key("init_weights", StartsAtZero),
        Key("fan_in_fan_out", FanInFanOut ?? false),
    ];

    /// <inheritdoc/>
    protected override IEnumerable<string> Faults()
    {
        if (Rank < 1)
        {
            yield return $"r is {Rank}; 1 or more is expected.";
        }

        if (Dropout is not (>= 0 and < 1))
        {
            yield return $"vera_dropout is {Dropout}; a number from 0 up to, but not including, 1 is expected.";
        }
    }
}
