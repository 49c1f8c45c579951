using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>
/// <see cref="LoraConfig"/> as <c>adapter_config.json</c>. Keys that are not known here are kept and written back; keys
/// that would change the numbers in ways that are not supported are refused by name.
/// </summary>
internal static class LoraConfigJson
{
    // Each switches on another kind of adapter or training.
    private static readonly string[] Unsupported =
    [
        "use_dora", "use_qalora", "use_bdlora", "layer_replication", "alora_invocation_tokens", "target_parameters",
        "trainable_token_indices", "arrow_config", "kasa_config", "velora_config", "monteclora_config", "ensure_weight_tying",
    ];

    private static readonly string[] BaseChangingInitializations = ["pissa", "olora", "loftq", "corda", "lora_ga", "mica"];

    public static LoraConfig Read(JsonObject json, string source)
    {
        ConfigReader reader = new(json, source);
        if (reader.Text("peft_type") is { } type && type != LoraMethod.Type)
        {
            reader.Fault($"peft_type is '{type}'; '{LoraMethod.Type}' is expected.");
        }

        foreach (string key in Unsupported.Where(k => !reader.IsUnset(k)))
        {
            reader.Fault($"{key} is {json[key]!.ToJsonString()}, which is not supported. Train the adapter without it, or merge it in PEFT first.");
        }

        LoraConfig config = new()
        {
            TaskType = reader.Text("task_type"),
            BaseModelNameOrPath = reader.Text("base_model_name_or_path"),
            ModulesToSave = reader.Texts("modules_to_save") ?? [],
            Rank = reader.Integer("r", 8),
            Alpha = reader.Number("lora_alpha", 8),
            UseRsLora = reader.Flag("use_rslora", false),
            Dropout = reader.Number("lora_dropout", 0),
            Bias = ReadBias(reader),
            HasLoraBias = reader.Flag("lora_bias", false),
            FanInFanOut = reader.Node("fan_in_fan_out") is null ? null : reader.Flag("fan_in_fan_out", false),
            TargetModules = reader.Selector("target_modules"),
            ExcludeModules = reader.Selector("exclude_modules"),
            LayersToTransform = reader.Integers("layers_to_transform"),
            LayersPattern = reader.Texts("layers_pattern"),
            RankPattern = reader.Table("rank_pattern"),
            AlphaPattern = reader.Table("alpha_pattern"),
            Initialization = ReadInitialization(reader),
        };
        foreach (string fault in config.Faults())
        {
            reader.Fault(fault);
        }

        reader.ThrowIfFaulty();
        config.RememberSource((JsonObject)json.DeepClone());
        return config;
    }

    public static JsonObject Write(LoraConfig config)
    {
        // What the file had stays, in its own form, unless the value has changed since.
        SortedDictionary<string, JsonNode?> keys = new(StringComparer.Ordinal);
        foreach ((string key, JsonNode? value) in config.Source ?? [])
        {
            keys[key] = value?.DeepClone();
        }

        keys["peft_type"] = LoraMethod.Type;
        keys["task_type"] = config.TaskType;
        keys["base_model_name_or_path"] = config.BaseModelNameOrPath;
        keys["inference_mode"] = true;
        keys["r"] = config.Rank;
        keys["lora_alpha"] = Number(config.Alpha);
        keys["lora_dropout"] = config.Dropout;
        keys["use_rslora"] = config.UseRsLora;
        keys["lora_bias"] = config.HasLoraBias;
        keys["fan_in_fan_out"] = config.FanInFanOut ?? false;
        keys["bias"] = config.Bias switch { LoraBias.All => "all", LoraBias.LoraOnly => "lora_only", _ => "none" };
        keys["modules_to_save"] = Texts(config.AllModulesToSave);
        keys["target_modules"] = config.TargetModules?.ToJson();
        keys["exclude_modules"] = config.ExcludeModules?.ToJson();
        keys["rank_pattern"] = Table(config.RankPattern);
        keys["alpha_pattern"] = Table(config.AlphaPattern);
        if (!ReadsAs(keys.GetValueOrDefault("layers_to_transform"), config.LayersToTransform))
        {
            keys["layers_to_transform"] = config.LayersToTransform is { } layers ? new JsonArray([.. layers.Select(l => (JsonNode)l)]) : null;
        }

        if (!ReadsAs(keys.GetValueOrDefault("layers_pattern"), config.LayersPattern))
        {
            keys["layers_pattern"] = config.LayersPattern is { } patterns ? Texts(patterns) : null;
        }

        if (config.Initialization != LoraInitialization.FromFile)
        {
            keys["init_lora_weights"] = config.Initialization switch
            {
                LoraInitialization.Gaussian => "gaussian",
                LoraInitialization.Random => false,
                _ => true,
            };
        }

        foreach (string key in (string[])["revision", "auto_mapping"])
        {
            keys.TryAdd(key, null);
        }

        return new JsonObject(keys);
    }

    private static LoraBias ReadBias(ConfigReader reader)
    {
        switch (reader.Text("bias"))
        {
            case null or "none":
                return LoraBias.None;
            case "all":
                return LoraBias.All;
            case "lora_only":
                return LoraBias.LoraOnly;
            case var other:
                reader.Fault($"bias is '{other}'; none, all or lora_only is expected.");
                return LoraBias.None;
        }
    }

    private static LoraInitialization ReadInitialization(ConfigReader reader)
    {
        JsonNode? node = reader.Node("init_lora_weights");
        switch (node?.GetValueKind())
        {
            case null or JsonValueKind.True:
                return LoraInitialization.Default;
            case JsonValueKind.False:
                return LoraInitialization.Random;
            case JsonValueKind.String:
                string name = node.GetValue<string>();
                if (name is "gaussian")
                {
                    return LoraInitialization.Gaussian;
                }

                if (name is "orthogonal" or "eva")
                {
                    return LoraInitialization.FromFile;
                }

                reader.Fault(BaseChangingInitializations.Any(i => name.StartsWith(i, StringComparison.Ordinal))
                    ? $"init_lora_weights '{name}' changes the base model's weights, so that the adapter does not fit the original model. Convert the adapter in PEFT (save_pretrained with path_initial_model_for_weight_conversion)."
                    : $"init_lora_weights '{name}' is not supported; true, false or gaussian is expected.");
                return LoraInitialization.Default;
            default:
                reader.Fault($"init_lora_weights is {node.ToJsonString()}; true, false or gaussian is expected.");
                return LoraInitialization.Default;
        }
    }

    private static JsonNode Number(double value) =>
        value == Math.Truncate(value) && Math.Abs(value) < 1e15 ? JsonValue.Create((long)value) : JsonValue.Create(value);

    private static JsonArray? Texts(IReadOnlyList<string> texts) => texts.Count == 0 ? null : new JsonArray([.. texts.Select(t => (JsonNode)t)]);

    private static JsonObject Table(IReadOnlyList<KeyValuePair<string, double>> rows) =>
        new(rows.OrderBy(r => r.Key, StringComparer.Ordinal).Select(r => KeyValuePair.Create(r.Key, (JsonNode?)Number(r.Value))));

    // A single value and a list of one mean the same; the file's form stays.
    private static bool ReadsAs<T>(JsonNode? node, IReadOnlyList<T>? values) => node switch
    {
        null => values is null,
        JsonArray array => values is not null && array.Select(Text).SequenceEqual(values.Select(v => Convert.ToString(v, CultureInfo.InvariantCulture))),
        _ => values is [var single] && Text(node) == Convert.ToString(single, CultureInfo.InvariantCulture),
    };

    private static string? Text(JsonNode? node) => node?.GetValueKind() == JsonValueKind.String ? node.GetValue<string>() : node?.ToJsonString();
}
