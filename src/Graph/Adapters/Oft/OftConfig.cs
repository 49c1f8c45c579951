using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;

namespace OrtQLoRA.Graph.Adapters.Oft;

/// <summary>Options of OFT, named as in PEFT's <c>OFTConfig</c>.</summary>
public sealed class OftConfig : TargetedConfig
{
    private static readonly IReadOnlyDictionary<string, JsonNode?> Defaults = Keys(
        """
        {"bias": "none", "block_share": false, "coft": false, "eps": 6e-05, "exclude_modules": null, "fan_in_fan_out": false, "init_weights": true,
         "layers_pattern": null, "layers_to_transform": null, "module_dropout": 0.0, "num_cayley_neumann_terms": 5, "oft_block_size": 32, "r": 0,
         "target_modules": null, "use_cayley_neumann": true}
        """);

    /// <inheritdoc/>
    public override string? PeftType => OftMethod.Type;

    /// <summary><c>r</c>: number of blocks; 0 takes <see cref="BlockSize"/>.</summary>
    public int Blocks { get; set; }

    /// <summary><c>oft_block_size</c>: size of a block, moved to the nearest divisor of a layer's width; 0 takes <see cref="Blocks"/>. Default 32.</summary>
    public int BlockSize { get; set; } = 32;

    /// <summary><c>use_cayley_neumann</c>: whether the Cayley transform is a truncated series rather than exact.</summary>
    public bool UsesNeumannSeries { get; set; } = true;

    /// <summary><c>num_cayley_neumann_terms</c>. Default 5.</summary>
    public int NeumannTerms { get; set; } = 5;

    /// <summary><c>coft</c>: whether the change of each block is kept within <see cref="Epsilon"/>.</summary>
    public bool IsConstrained { get; set; }

    /// <summary><c>eps</c>: how far blocks may go with <c>coft</c>.</summary>
    public double Epsilon { get; set; } = 6e-5;

    /// <summary><c>block_share</c>: whether all blocks of a layer are one.</summary>
    public bool SharesBlock { get; set; }

    /// <summary><c>init_weights</c>: whether blocks start as the identity.</summary>
    public bool StartsAtIdentity { get; set; } = true;

    /// <summary><c>fan_in_fan_out</c>: whether PyTorch holds the base weights [in, out]; null: written as found in the model.</summary>
    public bool? FanInFanOut { get; set; }

    /// <inheritdoc/>
    protected internal override IReadOnlyDictionary<string, JsonNode?> DefaultKeys => Defaults;

    internal static OftConfig FromJson(JsonObject json, string source)
    {
        OftConfig config = new();
        return Read(
            config,
            json,
            source,
            reader =>
            {
                config.Blocks = reader.Integer("r", 0);

                // Who sets the number of blocks need not take back the default size.
                config.BlockSize = reader.Integer("oft_block_size", config.Blocks > 0 ? 0 : 32);
                config.UsesNeumannSeries = reader.Flag("use_cayley_neumann", true);
                config.NeumannTerms = reader.Integer("num_cayley_neumann_terms", 5);
                config.IsConstrained = reader.Flag("coft", false);
                config.Epsilon = reader.Number("eps", 6e-5);
                config.SharesBlock = reader.Flag("block_share", false);
                config.StartsAtIdentity = reader.Flag("init_weights", true);
                config.FanInFanOut = reader.Node("fan_in_fan_out") is null ? null : reader.Flag("fan_in_fan_out", false);
            },
            "module_dropout");
    }

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() =>
    [
        Key("r", Blocks),
        Key("oft_block_size", BlockSize),
        Key("use_cayley_neumann", UsesNeumannSeries),
        Key("num_cayley_neumann_terms", NeumannTerms),
        Key("coft", IsConstrained),
        Key("eps", Epsilon),
        Key("block_share", SharesBlock),
        Key("init_weights", StartsAtIdentity),
        Key("fan_in_fan_out", FanInFanOut ?? false),
    ];

    /// <inheritdoc/>
    protected override IEnumerable<string> Faults()
    {
        if (Blocks < 0 || BlockSize < 0 || (Blocks == 0) == (BlockSize == 0))
        {
            yield return $"r is {Blocks} and oft_block_size is {BlockSize}; exactly one of them must be above 0 and the other 0.";
        }

        if (NeumannTerms < 1)
        {
            yield return $"num_cayley_neumann_terms is {NeumannTerms}; 1 or more is expected.";
        }

        if (IsConstrained && !(Epsilon > 0))
        {
            yield return $"eps is {Epsilon}; a number above 0 is expected with coft.";
        }
    }
}
