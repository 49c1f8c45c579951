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
        "use_qalora", "use_bdlora", "layer_replication", "alora_invocation_tokens", "target_parameters", "arrow_config", "kasa_config", "velora_config", "monteclora_config", "ensure_weight_tying",
    ];

    private const string DefaultEmbedding = "embed_tokens";

    /// <summary>Keys that options may set.</summary>
    public static readonly IReadOnlySet<string> Keys = new HashSet<string>(StringComparer.Ordinal)
    {
        "task_type", "modules_to_save", "r", "lora_alpha", "use_rslora", "lora_dropout", "bias", "lora_bias", "fan_in_fan_out", "target_modules",
        "exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "init_lora_weights", "loftq_config",
        "eva_config", "corda_config", "use_dora", "trainable_token_indices",
    };

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
            UseDora = reader.Flag("use_dora", false),
            TrainableTokens = ReadTokens(reader),
        };
        LoraInitializationJson.Read(reader, config);
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

        keys["use_dora"] = config.UseDora;
        if (!SameTokens(keys.GetValueOrDefault("trainable_token_indices"), config.TrainableTokens))
        {
            keys["trainable_token_indices"] = WriteTokens(config.TrainableTokens);
        }

        LoraInitializationJson.Write(keys, config);

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

    // A bare list means the input embedding, which PEFT calls embed_tokens until it has seen the model.
    private static Dictionary<string, IReadOnlyList<int>> ReadTokens(ConfigReader reader)
    {
        switch (reader.Node("trainable_token_indices"))
        {
            case null:
                return [];
            case JsonArray:
                return reader.Integers("trainable_token_indices") is { Count: > 0 } indices ? new() { [DefaultEmbedding] = indices } : [];
            case JsonObject table:
                Dictionary<string, IReadOnlyList<int>> tokens = new(StringComparer.Ordinal);
                ConfigReader entries = new(table, "trainable_token_indices");
                foreach ((string name, JsonNode? _) in table)
                {
                    tokens[name] = entries.Integers(name) ?? [];
                }

                reader.TakeFaults(entries);
                return tokens;
            case var other:
                reader.Fault($"trainable_token_indices is {other.ToJsonString()}; a list of token ids, or an object of lists by embedding, is expected.");
                return [];
        }
    }

    private static JsonNode? WriteTokens(IReadOnlyDictionary<string, IReadOnlyList<int>> tokens) => tokens.Count switch
    {
        0 => null,
        1 when tokens.TryGetValue(DefaultEmbedding, out IReadOnlyList<int>? indices) => Array(indices),
        _ => new JsonObject(tokens.Select(t => KeyValuePair.Create(t.Key, (JsonNode?)Array(t.Value)))),
    };

    private static bool SameTokens(JsonNode? node, IReadOnlyDictionary<string, IReadOnlyList<int>> tokens) =>
        JsonNode.DeepEquals(node, WriteTokens(tokens));

    private static JsonArray Array(IReadOnlyList<int> numbers) => new([.. numbers.Select(n => (JsonNode)n)]);

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
