using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>Options of LoRA, named as in PEFT's <c>LoraConfig</c>.</summary>
public sealed class LoraConfig : TargetedConfig
{
    // Each switches on another kind of adapter or training.
    private static readonly string[] Unsupported =
    [
        "use_qalora", "use_bdlora", "layer_replication", "alora_invocation_tokens", "target_parameters", "arrow_config", "kasa_config", "velora_config",
        "monteclora_config", "ensure_weight_tying",
    ];

    /// <summary>
    /// Keys that change nothing by themselves: details of starts, which <c>init_lora_weights</c> chooses, of QALoRA and of Megatron's layers.
    /// </summary>
    internal static readonly string[] IdleKeys =
        ["eva_config", "loftq_config", "corda_config", "lora_ga_config", "qalora_group_size", "megatron_core", "megatron_config"];

    // What every release of PEFT that loads our adapters knows; older ones refuse keys that they do not.
    private static readonly IReadOnlyDictionary<string, JsonNode?> Defaults = Keys(
        """
        {"alpha_pattern": {}, "bias": "none", "exclude_modules": null, "fan_in_fan_out": false, "init_lora_weights": true, "layers_pattern": null,
         "layers_to_transform": null, "lora_alpha": 8, "lora_bias": false, "lora_dropout": 0.0, "r": 8, "rank_pattern": {}, "target_modules": null,
         "trainable_token_indices": null, "use_dora": false, "use_rslora": false}
        """);

    /// <inheritdoc/>
    public override string? PeftType => LoraMethod.Type;

    /// <summary><c>r</c>: the rank. Default 8.</summary>
    public int Rank { get; set; } = 8;

    /// <summary><c>lora_alpha</c>. Default 8.</summary>
    public double Alpha { get; set; } = 8;

    /// <summary><c>use_rslora</c>: scale by alpha / sqrt(r) instead of alpha / r.</summary>
    public bool UseRsLora { get; set; }

    /// <summary><c>lora_dropout</c>: probability with which an input of A is dropped in training.</summary>
    public double Dropout { get; set; }

    /// <summary><c>lora_bias</c>: whether B has a bias.</summary>
    public bool HasLoraBias { get; set; }

    /// <summary>
    /// <c>fan_in_fan_out</c>: whether PyTorch holds the base weights [in, out]. Written for PEFT; here the graph says it.
    /// Null: written as found in the model.
    /// </summary>
    public bool? FanInFanOut { get; set; }

    /// <summary><c>init_lora_weights</c>.</summary>
    public LoraInitialization Initialization { get; set; }

    /// <summary>Whether the initialization takes the adapter's start out of the base's weights.</summary>
    public bool ChangesBase => Initialization is LoraInitialization.Pissa or LoraInitialization.Olora or LoraInitialization.LoftQ or LoraInitialization.Corda;

    /// <summary>
    /// With <see cref="LoraInitialization.Pissa"/>: iterations of the randomized decomposition (<c>pissa_niter_N</c>); null decomposes
    /// exactly.
    /// </summary>
    public int? PissaIterations { get; set; }

    /// <summary><c>loftq_config.loftq_bits</c>: 4 for nf4. A base that is quantized here takes its own format instead.</summary>
    public int LoftQBits { get; set; } = 4;

    /// <summary><c>loftq_config.loftq_iter</c>: alternations of quantization and decomposition.</summary>
    public int LoftQIterations { get; set; } = 1;

    /// <summary><c>eva_config.rho</c>: a layer may get up to this many times the rank.</summary>
    public double EvaRho { get; set; } = 2;

    /// <summary><c>eva_config.adjust_scaling_factors</c>: whether alphas follow redistributed ranks.</summary>
    public bool EvaAdjustsScaling { get; set; } = true;

    /// <summary><c>eva_config.whiten</c>: whether directions are scaled to equal variance.</summary>
    public bool EvaWhitens { get; set; }

    /// <summary><c>corda_config.corda_method</c>: whether the adapter takes the least important directions (<c>kpm</c>) rather than the most (<c>ipm</c>).</summary>
    public bool CordaPreservesKnowledge { get; set; }

    /// <summary><c>use_dora</c>: train the length of each output's weight apart from its direction.</summary>
    public bool UseDora { get; set; }

    /// <summary>
    /// Whether A keeps its first values, as LoRA-FA's optimizer wants it. Not part of PEFT's configuration: there the optimizer
    /// freezes A.
    /// </summary>
    public bool FreezesA { get; set; }

    /// <summary><c>trainable_token_indices</c>: rows of embeddings that are trained, by name of the embedding.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<int>> TrainableTokens { get; set; } = new Dictionary<string, IReadOnlyList<int>>();

    /// <inheritdoc/>
    protected internal override IReadOnlyDictionary<string, JsonNode?> DefaultKeys => Defaults;

    /// <inheritdoc/>
    protected override IEnumerable<string> KnownKeys => base.KnownKeys.Concat(IdleKeys);

    /// <summary>Reads a configuration.</summary>
    /// <param name="json">Content of <c>adapter_config.json</c>.</param>
    /// <param name="source">Where it comes from, for messages.</param>
    /// <exception cref="ConfigurationException">Lists every fault.</exception>
    public static LoraConfig FromJson(JsonObject json, string source)
    {
        LoraConfig config = new();
        return Read(
            config,
            json,
            source,
            reader =>
            {
                config.Rank = reader.Integer("r", 8);
                config.Alpha = reader.Number("lora_alpha", 8);
                config.UseRsLora = reader.Flag("use_rslora", false);
                config.Dropout = reader.Number("lora_dropout", 0);
                config.HasLoraBias = reader.Flag("lora_bias", false);
                config.FanInFanOut = reader.Node("fan_in_fan_out") is null ? null : reader.Flag("fan_in_fan_out", false);
                config.UseDora = reader.Flag("use_dora", false);
                config.TrainableTokens = TrainableTokensJson.Read(reader);
                LoraInitializationJson.Read(reader, config);
            },
            Unsupported);
    }

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() =>
    [
        Key("r", Rank),
        Key("lora_alpha", Number(Alpha)),
        Key("lora_dropout", Dropout),
        Key("use_rslora", UseRsLora),
        Key("lora_bias", HasLoraBias),
        Key("fan_in_fan_out", FanInFanOut ?? false),
        Key("use_dora", UseDora),
    ];

    /// <inheritdoc/>
    protected override void WriteDetails(IDictionary<string, JsonNode?> keys)
    {
        TrainableTokensJson.Write(keys, TrainableTokens);
        LoraInitializationJson.Write(keys, this);
    }

    /// <inheritdoc/>
    protected override IEnumerable<string> Faults()
    {
        foreach (string fault in RankFaults.Of(Rank, Alpha, "lora_alpha", RankPattern))
        {
            yield return fault;
        }

        if (Dropout is not (>= 0 and < 1))
        {
            yield return $"lora_dropout is {Dropout}; a number from 0 up to, but not including, 1 is expected.";
        }

        if (HasLoraBias && Initialization is not (LoraInitialization.Default or LoraInitialization.Random))
        {
            yield return "lora_bias needs init_lora_weights true or false.";
        }

        if (HasLoraBias && UseDora)
        {
            yield return "lora_bias and use_dora do not go together: DoRA scales what B gives by the weight's length, which says nothing of a bias.";
        }

        if (PissaIterations is < 0)
        {
            yield return $"init_lora_weights asks for {PissaIterations} iterations; 0 or more are expected.";
        }

        if (LoftQIterations < 1)
        {
            yield return $"loftq_iter is {LoftQIterations}; 1 or more is expected.";
        }

        if (!(EvaRho >= 1))
        {
            yield return $"eva_config.rho is {EvaRho}; a number of 1 or more is expected.";
        }
    }
}
