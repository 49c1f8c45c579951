using System.Text.Json.Nodes;

namespace OrtQLoRA.Graph.Adapters.Prompts;

/// <summary>Options that prompt and prefix tuning share, named as in PEFT's <c>PromptLearningConfig</c>.</summary>
public abstract class PromptConfig : AdapterConfig
{
    /// <summary><c>num_virtual_tokens</c>: positions in front of the text. Default 20.</summary>
    public int VirtualTokens { get; set; } = 20;

    /// <summary><c>token_dim</c>: width of a virtual token; null takes the model's.</summary>
    public int? TokenDim { get; set; }

    /// <summary><c>num_layers</c>: layers of the model; null counts them.</summary>
    public int? Layers { get; set; }

    /// <summary><c>num_attention_heads</c>: heads of the model; null counts them.</summary>
    public int? Heads { get; set; }

    /// <summary>Keys that options may set.</summary>
    internal static readonly IReadOnlySet<string> CommonKeys = new HashSet<string>(StringComparer.Ordinal)
    {
        "num_virtual_tokens", "modules_to_save", "task_type", "prompt_tuning_init", "prefix_projection", "encoder_hidden_size",
    };

    /// <inheritdoc/>
    protected override IEnumerable<string> KnownKeys =>
        [.. CommonKeys, .. OwnKeys().Select(k => k.Key), "num_transformer_submodules", "token_dim", "num_layers", "num_attention_heads"];

    /// <inheritdoc/>
    public override AdapterConfig WithTargets(Targets.ModuleSelector targets) => (AdapterConfig)MemberwiseClone();

    /// <inheritdoc/>
    public override JsonObject ToJson()
    {
        SortedDictionary<string, JsonNode?> keys = new(StringComparer.Ordinal)
        {
            ["auto_mapping"] = null,
            ["num_transformer_submodules"] = 1,
            ["revision"] = null,
        };
        foreach ((string key, JsonNode? value) in OwnKeys().Concat(Source ?? []))
        {
            keys[key] = value?.DeepClone();
        }

        keys["peft_type"] = PeftType;
        keys["task_type"] = TaskType;
        keys["base_model_name_or_path"] = BaseModelNameOrPath;
        keys["inference_mode"] = true;
        if (keys.GetValueOrDefault("modules_to_save") is not JsonArray listed || !listed.Select(m => (string?)m).ToHashSet().SetEquals(AllModulesToSave))
        {
            // A file of PEFT's may list the modules twice over; it stays as it is.
            keys["modules_to_save"] = AllModulesToSave.Count == 0 ? null : new JsonArray([.. AllModulesToSave.Select(m => (JsonNode)m)]);
        }

        keys["num_virtual_tokens"] = VirtualTokens;
        keys["token_dim"] = TokenDim;
        keys["num_layers"] = Layers;
        keys["num_attention_heads"] = Heads;
        return new JsonObject(keys);
    }

    /// <summary>A copy with the model's sizes.</summary>
    internal T WithSizes<T>(int tokenDim, int? layers, int? heads)
        where T : PromptConfig
    {
        T copy = (T)MemberwiseClone();
        copy.TokenDim = tokenDim;
        copy.Layers = layers ?? Layers;
        copy.Heads = heads ?? Heads;
        return copy;
    }

    /// <summary>PEFT's further keys with their defaults.</summary>
    protected abstract IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys();

    internal static T Read<T>(T config, JsonObject json, string source, Action<ConfigReader> readOwn)
        where T : PromptConfig
    {
        ConfigReader reader = new(json, source);
        if (reader.Text("peft_type") is { } type && type != config.PeftType)
        {
            reader.Fault($"peft_type is '{type}'; '{config.PeftType}' is expected.");
        }

        config.TaskType = reader.Text("task_type");
        config.BaseModelNameOrPath = reader.Text("base_model_name_or_path");
        config.ModulesToSave = reader.Texts("modules_to_save") ?? [];
        config.VirtualTokens = reader.Integer("num_virtual_tokens", 20);
        config.TokenDim = reader.Node("token_dim") is null ? null : reader.Integer("token_dim", 0);
        config.Layers = reader.Node("num_layers") is null ? null : reader.Integer("num_layers", 0);
        config.Heads = reader.Node("num_attention_heads") is null ? null : reader.Integer("num_attention_heads", 0);
        if (config.VirtualTokens < 1)
        {
            reader.Fault($"num_virtual_tokens is {config.VirtualTokens}; 1 or more is expected.");
        }

        if (reader.Integer("num_transformer_submodules", 1) != 1)
        {
            reader.Fault($"num_transformer_submodules is {reader.Node("num_transformer_submodules")!.ToJsonString()}; only models of one part (1) are supported.");
        }

        readOwn(reader);
        reader.ThrowIfFaulty();
        config.Source = (JsonObject)json.DeepClone();
        return config;
    }
}
