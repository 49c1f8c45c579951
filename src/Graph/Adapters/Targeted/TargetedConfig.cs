using System.Globalization;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targets;

namespace OrtQLoRA.Graph.Adapters.Targeted;

/// <summary>
/// Options that methods on chosen layers share, and their way from and to <c>adapter_config.json</c>: keys of the file are
/// kept, keys that the class knows are written over them, and the rest of PEFT's keys get PEFT's defaults.
/// </summary>
public abstract class TargetedConfig : AdapterConfig
{
    /// <summary><c>target_modules</c>; null takes the method's own choice.</summary>
    public ModuleSelector? TargetModules { get; set; }

    /// <summary><c>exclude_modules</c>.</summary>
    public ModuleSelector? ExcludeModules { get; set; }

    /// <summary><c>layers_to_transform</c>.</summary>
    public IReadOnlyList<int>? LayersToTransform { get; set; }

    /// <summary><c>layers_pattern</c>.</summary>
    public IReadOnlyList<string>? LayersPattern { get; set; }

    /// <summary><c>rank_pattern</c>: ranks of single modules, for methods that have ranks.</summary>
    public IReadOnlyList<KeyValuePair<string, double>> RankPattern { get; set; } = [];

    /// <summary><c>alpha_pattern</c>: alphas of single modules, for methods that have them.</summary>
    public IReadOnlyList<KeyValuePair<string, double>> AlphaPattern { get; set; } = [];

    /// <summary><c>bias</c>: which biases of the base model are trained, for methods that leave the choice.</summary>
    public TrainedBiases Bias { get; set; }

    /// <summary>PEFT's keys of the method with their defaults.</summary>
    protected internal abstract IReadOnlyDictionary<string, JsonNode?> DefaultKeys { get; }

    /// <summary>Whether the method has ranks and alphas of single modules.</summary>
    protected virtual bool HasPatterns => DefaultKeys.ContainsKey("rank_pattern");

    private bool HasBias => DefaultKeys.ContainsKey("bias");

    // PEFT's word for the targets' own biases: lora_only, boft_only. AdaLoRA takes LoRA's.
    private string BiasOfTargets => PeftType == "ADALORA" ? "lora_only" : $"{PeftType!.ToLowerInvariant()}_only";

    /// <inheritdoc/>
    protected override IEnumerable<string> KnownKeys => KeysOf(this).Concat(OwnKeys().Select(k => k.Key));

    /// <inheritdoc/>
    public override AdapterConfig WithTargets(ModuleSelector targets)
    {
        TargetedConfig copy = (TargetedConfig)MemberwiseClone();
        copy.TargetModules = targets;
        return copy;
    }

    /// <inheritdoc/>
    public override JsonObject ToJson()
    {
        SortedDictionary<string, JsonNode?> keys = new(StringComparer.Ordinal)
        {
            ["auto_mapping"] = null,
            ["base_model_name_or_path"] = null,
            ["modules_to_save"] = null,
            ["revision"] = null,
            ["task_type"] = null,
        };
        foreach ((string key, JsonNode? value) in DefaultKeys.Concat(Source ?? []))
        {
            keys[key] = value?.DeepClone();
        }

        keys["peft_type"] = PeftType;
        keys["task_type"] = TaskType;
        keys["base_model_name_or_path"] = BaseModelNameOrPath;
        keys["inference_mode"] = true;
        keys["modules_to_save"] = Texts(AllModulesToSave);
        keys["target_modules"] = TargetModules?.ToJson();
        if (ExcludeModules is not null || DefaultKeys.ContainsKey("exclude_modules"))
        {
            keys["exclude_modules"] = ExcludeModules?.ToJson();
        }

        if (DefaultKeys.ContainsKey("layers_to_transform"))
        {
            Keep(keys, "layers_to_transform", LayersToTransform, l => l);
            Keep(keys, "layers_pattern", LayersPattern, p => p);
        }

        if (HasPatterns)
        {
            keys["rank_pattern"] = Table(RankPattern);
            keys["alpha_pattern"] = Table(AlphaPattern);
        }

        if (HasBias)
        {
            keys["bias"] = Bias switch { TrainedBiases.All => "all", TrainedBiases.Targets => BiasOfTargets, _ => "none" };
        }

        foreach ((string key, JsonNode? value) in OwnKeys())
        {
            keys[key] = value;
        }

        WriteDetails(keys);
        return new JsonObject(keys);
    }

    /// <summary>Checks the values.</summary>
    /// <exception cref="ConfigurationException">Lists every fault.</exception>
    public void Validate()
    {
        string[] faults = [.. Faults()];
        if (faults.Length > 0)
        {
            throw new ConfigurationException(faults);
        }
    }

    /// <summary>The values of the keys that the class itself has properties for.</summary>
    protected abstract IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys();

    /// <summary>Writes what depends on the values that the file had.</summary>
    protected virtual void WriteDetails(IDictionary<string, JsonNode?> keys)
    {
    }

    /// <summary>Faults of the values; empty if there are none.</summary>
    protected virtual IEnumerable<string> Faults() => [];

    /// <summary>A number as JSON: whole numbers without a fraction.</summary>
    protected static JsonNode Number(double value) =>
        value == Math.Truncate(value) && Math.Abs(value) < 1e15 ? JsonValue.Create((long)value) : JsonValue.Create(value);

    /// <summary>A list of texts as JSON; null if empty.</summary>
    protected static JsonArray? Texts(IReadOnlyList<string> texts) => texts.Count == 0 ? null : new JsonArray([.. texts.Select(t => (JsonNode)t)]);

    /// <summary>One key of the file.</summary>
    protected static KeyValuePair<string, JsonNode?> Key(string key, JsonNode? value) => KeyValuePair.Create(key, value);

    /// <summary>PEFT's keys with their defaults, from JSON text.</summary>
    protected static IReadOnlyDictionary<string, JsonNode?> Keys(string json) =>
        ((JsonObject)JsonNode.Parse(json)!).ToDictionary(p => p.Key, p => p.Value, StringComparer.Ordinal);

    /// <summary>Reads what all such configurations hold, lets the class read its own, and throws if there were faults.</summary>
    internal static T Read<T>(T config, JsonObject json, string source, Action<ConfigReader> readOwn, params IReadOnlyList<string> unsupported)
        where T : TargetedConfig
    {
        ConfigReader reader = new(json, source);
        if (reader.Text("peft_type") is { } type && type != config.PeftType)
        {
            reader.Fault($"peft_type is '{type}'; '{config.PeftType}' is expected.");
        }

        foreach (string key in unsupported.Where(k => !reader.IsUnset(k) && !IsZero(json[k])))
        {
            reader.Fault($"{key} is {json[key]!.ToJsonString()}, which is not supported and would change the numbers. Train the adapter without it.");
        }

        config.TaskType = reader.Text("task_type");
        config.BaseModelNameOrPath = reader.Text("base_model_name_or_path");
        config.ModulesToSave = reader.Texts("modules_to_save") ?? [];
        config.TargetModules = reader.Selector("target_modules");
        config.ExcludeModules = reader.Selector("exclude_modules");
        config.LayersToTransform = reader.Integers("layers_to_transform");
        config.LayersPattern = reader.Texts("layers_pattern");
        if (config.HasPatterns)
        {
            config.RankPattern = reader.Table("rank_pattern");
            config.AlphaPattern = reader.Table("alpha_pattern");
        }

        if (config.HasBias)
        {
            config.Bias = ReadBias(reader, config.BiasOfTargets);
        }

        readOwn(reader);
        foreach (string fault in config.Faults())
        {
            reader.Fault(fault);
        }

        reader.ThrowIfFaulty();
        config.Source = (JsonObject)json.DeepClone();
        return config;
    }

    internal static IReadOnlySet<string> KeysOf(TargetedConfig config) =>
        new HashSet<string>(config.DefaultKeys.Keys.Concat(["modules_to_save", "target_modules", "exclude_modules", "task_type"]), StringComparer.Ordinal);

    internal TargetOptions TargetOptions(ModuleSelector targets) => new()
    {
        TargetModules = targets,
        ExcludeModules = ExcludeModules,
        ModulesToSave = AllModulesToSave,
        LayersToTransform = LayersToTransform,
        LayersPattern = LayersPattern,
    };

    private static TrainedBiases ReadBias(ConfigReader reader, string ofTargets)
    {
        string? bias = reader.Text("bias");
        switch (bias)
        {
            case null or "none":
                return TrainedBiases.None;
            case "all":
                return TrainedBiases.All;
            case var word when word == ofTargets:
                return TrainedBiases.Targets;
            default:
                reader.Fault($"bias is '{bias}'; none, all or {ofTargets} is expected.");
                return TrainedBiases.None;
        }
    }

    // A single value and a list of one mean the same; the file's form stays unless the value has changed since.
    private static void Keep<T>(IDictionary<string, JsonNode?> keys, string key, IReadOnlyList<T>? values, Func<T, JsonNode> toJson)
    {
        JsonNode? known = keys.TryGetValue(key, out JsonNode? node) ? node : null;
        JsonArray? written = values is null ? null : new JsonArray([.. values.Select(toJson)]);
        if (!JsonNode.DeepEquals(known is null or JsonArray ? known : new JsonArray(known.DeepClone()), written))
        {
            keys[key] = written;
        }
    }

    private static bool IsZero(JsonNode? node) => node is JsonValue value && value.TryGetValue(out double number) && number == 0;

    private static JsonObject Table(IReadOnlyList<KeyValuePair<string, double>> rows) =>
        new(rows.OrderBy(r => r.Key, StringComparer.Ordinal).Select(r => KeyValuePair.Create(r.Key, (JsonNode?)Number(r.Value))));

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{PeftType} on {TargetModules}");
}
