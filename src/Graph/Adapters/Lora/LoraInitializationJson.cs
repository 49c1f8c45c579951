using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary><c>init_lora_weights</c> and the objects with its details.</summary>
internal static class LoraInitializationJson
{
    private const string Key = "init_lora_weights";
    private const string PissaPrefix = "pissa_niter_";

    /// <summary>The objects with details; each stands beside the initialization that it belongs to.</summary>
    public static readonly IReadOnlyList<string> DetailKeys = ["loftq_config", "eva_config", "corda_config"];

    private static readonly Dictionary<string, LoraInitialization> Names = new(StringComparer.Ordinal)
    {
        ["gaussian"] = LoraInitialization.Gaussian,
        ["orthogonal"] = LoraInitialization.Orthogonal,
        ["pissa"] = LoraInitialization.Pissa,
        ["olora"] = LoraInitialization.Olora,
        ["loftq"] = LoraInitialization.LoftQ,
        ["eva"] = LoraInitialization.Eva,
        ["corda"] = LoraInitialization.Corda,
    };

    public static void Read(ConfigReader reader, LoraConfig config)
    {
        JsonNode? node = reader.Node(Key);
        switch (node?.GetValueKind())
        {
            case null or JsonValueKind.True:
                break;
            case JsonValueKind.False:
                config.Initialization = LoraInitialization.Random;
                break;
            case JsonValueKind.String:
                ReadName(reader, config, node.GetValue<string>().ToLowerInvariant());
                break;
            default:
                reader.Fault($"{Key} is {node.ToJsonString()}; true, false or the name of a method is expected.");
                break;
        }

        ReadDetails(reader, config);
    }

    public static void Write(IDictionary<string, JsonNode?> keys, LoraConfig config)
    {
        keys[Key] = config.Initialization switch
        {
            LoraInitialization.Default => true,
            LoraInitialization.Random => false,
            LoraInitialization.Pissa when config.PissaIterations is { } iterations => PissaPrefix + iterations.ToString(CultureInfo.InvariantCulture),
            _ => Names.First(n => n.Value == config.Initialization).Key,
        };
        Detail(LoraInitialization.LoftQ, "loftq_config", ("loftq_bits", config.LoftQBits), ("loftq_iter", config.LoftQIterations));
        Detail(
            LoraInitialization.Eva,
            "eva_config",
            ("rho", config.EvaRho),
            ("whiten", config.EvaWhitens),
            ("adjust_scaling_factors", config.EvaAdjustsScaling));
        Detail(LoraInitialization.Corda, "corda_config", ("corda_method", config.CordaPreservesKnowledge ? "kpm" : "ipm"));

        // What the file says beside stays.
        void Detail(LoraInitialization kind, string key, params ReadOnlySpan<(string Name, JsonNode Value)> values)
        {
            if (config.Initialization != kind)
            {
                return;
            }

            JsonObject detail = keys.TryGetValue(key, out JsonNode? known) && known is JsonObject table ? (JsonObject)table.DeepClone() : [];
            foreach ((string name, JsonNode value) in values)
            {
                detail[name] = value;
            }

            keys[key] = detail;
        }
    }

    private static void ReadName(ConfigReader reader, LoraConfig config, string name)
    {
        if (Names.TryGetValue(name, out LoraInitialization known))
        {
            config.Initialization = known;
        }
        else if (name.StartsWith(PissaPrefix, StringComparison.Ordinal)
            && int.TryParse(name[PissaPrefix.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out int iterations))
        {
            config.Initialization = LoraInitialization.Pissa;
            config.PissaIterations = iterations;
        }
        else
        {
            reader.Fault($"{Key} '{name}' is not supported; known are true, false, {string.Join(", ", Names.Keys)} and {PissaPrefix}N.");
        }
    }

    private static void ReadDetails(ConfigReader reader, LoraConfig config)
    {
        if (config.Initialization == LoraInitialization.LoftQ)
        {
            ConfigReader part = new(reader.Object("loftq_config") ?? [], "loftq_config");
            config.LoftQBits = part.Integer("loftq_bits", 4);
            config.LoftQIterations = part.Integer("loftq_iter", 1);
            reader.TakeFaults(part);
        }
        else if (config.Initialization == LoraInitialization.Eva)
        {
            ConfigReader part = new(reader.Object("eva_config") ?? [], "eva_config");
            config.EvaRho = part.Number("rho", 2);
            config.EvaWhitens = part.Flag("whiten", false);
            config.EvaAdjustsScaling = part.Flag("adjust_scaling_factors", true);
            reader.TakeFaults(part);
        }
        else if (config.Initialization == LoraInitialization.Corda)
        {
            ConfigReader part = new(reader.Object("corda_config") ?? [], "corda_config");
            config.CordaPreservesKnowledge = part.Text("corda_method") switch
            {
                null or "ipm" => false,
                "kpm" => true,
                var other => Unknown(other),
            };
            reader.TakeFaults(part);
            bool Unknown(string other)
            {
                part.Fault($"corda_method is '{other}'; ipm or kpm is expected.");
                return false;
            }
        }
    }
}
