using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targeted;

namespace OrtQLoRA.Graph.Adapters.AdaLora;

/// <summary>Options of AdaLoRA, named as in PEFT's <c>AdaLoraConfig</c>.</summary>
public sealed class AdaLoraConfig : TargetedConfig
{
    // Keys that PEFT inherits from LoRA and that would change the numbers.
    private static readonly string[] Unsupported =
    [
        "use_dora", "use_rslora", "lora_bias", "use_qalora", "use_bdlora", "layer_replication", "alora_invocation_tokens", "target_parameters",
        "trainable_token_indices", "arrow_config", "kasa_config", "velora_config", "monteclora_config", "ensure_weight_tying", "alpha_pattern",
        "loftq_config", "eva_config", "corda_config", "lora_ga_config",
    ];

    private static readonly IReadOnlyDictionary<string, JsonNode?> Defaults = Keys(
        """
        {"alpha_pattern": {}, "beta1": 0.85, "beta2": 0.85, "bias": "none", "deltaT": 1, "exclude_modules": null, "fan_in_fan_out": false,
         "init_lora_weights": true, "init_r": 12, "layers_pattern": null, "layers_to_transform": null, "lora_alpha": 8, "lora_dropout": 0.0,
         "orth_reg_weight": 0.5, "r": 8, "rank_pattern": null, "target_modules": null, "target_r": 8, "tfinal": 0, "tinit": 0, "total_step": null}
        """);

    /// <inheritdoc/>
    public override string? PeftType => AdaLoraMethod.Type;

    /// <summary><c>init_r</c>: rank of every layer at the start. Default 12.</summary>
    public int InitialRank { get; set; } = 12;

    /// <summary><c>target_r</c>: mean rank at the end. Default 8.</summary>
    public int TargetRank { get; set; } = 8;

    /// <summary><c>tinit</c>: steps before ranks begin to fall.</summary>
    public int InitialSteps { get; set; }

    /// <summary><c>tfinal</c>: steps at the end with fixed ranks.</summary>
    public int FinalSteps { get; set; }

    /// <summary><c>deltaT</c>: steps between two allocations.</summary>
    public int Interval { get; set; } = 1;

    /// <summary><c>beta1</c>: averaging of the importance.</summary>
    public double Beta1 { get; set; } = 0.85;

    /// <summary><c>beta2</c>: averaging of the importance's uncertainty.</summary>
    public double Beta2 { get; set; } = 0.85;

    /// <summary><c>orth_reg_weight</c>: weight of the orthogonality term in the loss.</summary>
    public double OrthogonalityWeight { get; set; } = 0.5;

    /// <summary><c>total_step</c>: steps of the run; null takes the run's own number.</summary>
    public int? TotalSteps { get; set; }

    /// <summary><c>lora_alpha</c>. Default 8.</summary>
    public double Alpha { get; set; } = 8;

    /// <summary><c>lora_dropout</c>.</summary>
    public double Dropout { get; set; }

    /// <summary><c>fan_in_fan_out</c>: whether PyTorch holds the base weights [in, out]; null: written as found in the model.</summary>
    public bool? FanInFanOut { get; set; }

    /// <summary><c>rank_pattern</c>: which of the initial triplets are left, by the name of E; null before any allocation.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<bool>>? Kept { get; set; }

    /// <inheritdoc/>
    protected override bool HasPatterns => false;

    /// <inheritdoc/>
    protected internal override IReadOnlyDictionary<string, JsonNode?> DefaultKeys => Defaults;

    /// <inheritdoc/>
    protected override IEnumerable<string> KnownKeys => base.KnownKeys.Concat(LoraConfig.IdleKeys);

    internal static AdaLoraConfig FromJson(JsonObject json, string source)
    {
        AdaLoraConfig config = new();
        return Read(
            config,
            json,
            source,
            reader =>
            {
                config.InitialRank = reader.Integer("init_r", 12);
                config.TargetRank = reader.Integer("target_r", 8);
                config.InitialSteps = reader.Integer("tinit", 0);
                config.FinalSteps = reader.Integer("tfinal", 0);
                config.Interval = reader.Integer("deltaT", 1);
                config.Beta1 = reader.Number("beta1", 0.85);
                config.Beta2 = reader.Number("beta2", 0.85);
                config.OrthogonalityWeight = reader.Number("orth_reg_weight", 0.5);
                config.TotalSteps = reader.Node("total_step") is null ? null : reader.Integer("total_step", 0);
                config.Alpha = reader.Number("lora_alpha", 8);
                config.Dropout = reader.Number("lora_dropout", 0);
                config.FanInFanOut = reader.Node("fan_in_fan_out") is null ? null : reader.Flag("fan_in_fan_out", false);
                config.Kept = ReadPattern(reader);
            },
            Unsupported);
    }

    /// <summary>A copy with the triplets that are left.</summary>
    internal AdaLoraConfig WithKept(IReadOnlyDictionary<string, IReadOnlyList<bool>> kept)
    {
        AdaLoraConfig copy = (AdaLoraConfig)MemberwiseClone();
        copy.Kept = kept;
        return copy;
    }

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() =>
    [
        Key("init_r", InitialRank),
        Key("target_r", TargetRank),
        Key("tinit", InitialSteps),
        Key("tfinal", FinalSteps),
        Key("deltaT", Interval),
        Key("beta1", Beta1),
        Key("beta2", Beta2),
        Key("orth_reg_weight", OrthogonalityWeight),
        Key("total_step", TotalSteps),
        Key("lora_alpha", Number(Alpha)),
        Key("lora_dropout", Dropout),
        Key("fan_in_fan_out", FanInFanOut ?? false),
        Key("rank_pattern", Kept is null ? null : new JsonObject(Kept.OrderBy(k => k.Key, StringComparer.Ordinal).Select(k =>
            KeyValuePair.Create(k.Key, (JsonNode?)new JsonArray([.. k.Value.Select(b => (JsonNode)b)]))))),
    ];

    /// <inheritdoc/>
    protected override IEnumerable<string> Faults()
    {
        foreach (string fault in RankFaults.Of(InitialRank, Alpha, "lora_alpha", []))
        {
            yield return fault.StartsWith("r is", StringComparison.Ordinal) ? "init_" + fault : fault;
        }

        if (TargetRank < 0 || TargetRank > InitialRank)
        {
            yield return $"target_r is {TargetRank}; a number from 0 to init_r, {InitialRank}, is expected.";
        }

        if (Interval < 1)
        {
            yield return $"deltaT is {Interval}; 1 or more is expected.";
        }

        if (InitialSteps < 0 || FinalSteps < 0)
        {
            yield return $"tinit is {InitialSteps} and tfinal {FinalSteps}; 0 or more are expected.";
        }

        if (Beta1 is not (>= 0 and < 1) || Beta2 is not (>= 0 and < 1))
        {
            yield return $"beta1 is {Beta1} and beta2 {Beta2}; numbers from 0 up to, but not including, 1 are expected.";
        }

        if (TotalSteps is { } total && total <= InitialSteps + FinalSteps)
        {
            yield return $"total_step is {total}; more than tinit + tfinal, {InitialSteps + FinalSteps}, is expected, or no step is left in which ranks could fall.";
        }

        if (Dropout is not (>= 0 and < 1))
        {
            yield return $"lora_dropout is {Dropout}; a number from 0 up to, but not including, 1 is expected.";
        }
    }

    private static Dictionary<string, IReadOnlyList<bool>>? ReadPattern(ConfigReader reader)
    {
        if (reader.IsUnset("rank_pattern") || reader.Object("rank_pattern") is not { } table)
        {
            return null;
        }

        Dictionary<string, IReadOnlyList<bool>> kept = new(StringComparer.Ordinal);
        foreach ((string name, JsonNode? node) in table)
        {
            if (node is not JsonArray flags || !flags.All(f => f?.GetValueKind() is JsonValueKind.True or JsonValueKind.False))
            {
                reader.Fault($"rank_pattern gives '{name}' {node?.ToJsonString() ?? "null"}; a list of true and false is expected.");
                continue;
            }

            kept[name] = [.. flags.Select(f => f!.GetValue<bool>())];
        }

        return kept;
    }
}
