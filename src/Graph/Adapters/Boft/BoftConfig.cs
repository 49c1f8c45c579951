using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;

namespace OrtQLoRA.Graph.Adapters.Boft;

/// <summary>Options of BOFT, named as in PEFT's <c>BOFTConfig</c>.</summary>
public sealed class BoftConfig : TargetedConfig
{
    private static readonly IReadOnlyDictionary<string, JsonNode?> Defaults = Keys(
        """
        {"bias": "none", "boft_block_num": 0, "boft_block_size": 4, "boft_dropout": 0.0, "boft_n_butterfly_factor": 1, "exclude_modules": null,
         "fan_in_fan_out": false, "init_weights": true, "layers_pattern": null, "layers_to_transform": null, "target_modules": null}
        """);

    /// <inheritdoc/>
    public override string? PeftType => BoftMethod.Type;

    /// <summary><c>boft_block_size</c>: size of a block; 0 takes <see cref="Blocks"/>. Default 4.</summary>
    public int BlockSize { get; set; } = 4;

    /// <summary><c>boft_block_num</c>: number of blocks; 0 takes <see cref="BlockSize"/>.</summary>
    public int Blocks { get; set; }

    /// <summary>
    /// <c>boft_n_butterfly_factor</c>. Kept for the file: without its CUDA extension PEFT computes with one factor whatever this
    /// says, and so does this project.
    /// </summary>
    public int ButterflyFactors { get; set; } = 1;

    /// <summary><c>init_weights</c>: whether the change starts as the identity.</summary>
    public bool StartsAtIdentity { get; set; } = true;

    /// <summary><c>fan_in_fan_out</c>: whether PyTorch holds the base weights [in, out]; null: written as found in the model.</summary>
    public bool? FanInFanOut { get; set; }

    /// <inheritdoc/>
    protected internal override IReadOnlyDictionary<string, JsonNode?> DefaultKeys => Defaults;

    internal static BoftConfig FromJson(JsonObject json, string source)
    {
        BoftConfig config = new();
        return Read(
            config,
            json,
            source,
            reader =>
            {
                config.Blocks = reader.Integer("boft_block_num", 0);
                config.BlockSize = reader.Integer("boft_block_size", config.Blocks > 0 ? 0 : 4);
                config.ButterflyFactors = reader.Integer("boft_n_butterfly_factor", 1);
                config.StartsAtIdentity = reader.Flag("init_weights", true);
                config.FanInFanOut = reader.Node("fan_in_fan_out") is null ? null : reader.Flag("fan_in_fan_out", false);
            },
            "boft_dropout");
    }

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() =>
    [
        Key("boft_block_size", BlockSize),
        Key("boft_block_num", Blocks),
        Key("boft_n_butterfly_factor", ButterflyFactors),
        Key("init_weights", StartsAtIdentity),
        Key("fan_in_fan_out", FanInFanOut ?? false),
    ];

    /// <inheritdoc/>
    protected override IEnumerable<string> Faults()
    {
        if (Blocks < 0 || BlockSize < 0 || (Blocks == 0) == (BlockSize == 0))
        {
            yield return $"boft_block_num is {Blocks} and boft_block_size is {BlockSize}; exactly one of them must be above 0 and the other 0.";
        }

        if (ButterflyFactors < 1)
        {
            yield return $"boft_n_butterfly_factor is {ButterflyFactors}; 1 or more is expected.";
        }
    }
}
