using System.Text.Json.Nodes;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Training;

/// <summary>
/// The way from options to a method's configuration, for any method: options are values of PEFT's keys, laid over what the
/// initial adapter says. A key that means nothing to the method is refused.
/// </summary>
internal static class AdapterOptions
{
    /// <summary>Finds the method that a configuration belongs to.</summary>
    internal static IAdapterMethod MethodOf(AdapterConfig config) => config.PeftType is { } type
        ? AdapterRegistry.Default.GetByPeftType(type, "the adapter's configuration")
        : throw new ConfigurationException("The adapter's configuration belongs to several methods (full, bitfit); name one with Method.");

    /// <summary>Makes the configuration.</summary>
    /// <param name="method">The method.</param>
    /// <param name="given">What the initial adapter says; null for the method's defaults.</param>
    /// <param name="options">The run's options.</param>
    /// <param name="refusesForeign">Whether an option that means nothing to the method is a fault, rather than passed over.</param>
    /// <exception cref="ConfigurationException">Options are wrong or mean nothing to the method; all are listed.</exception>
    internal static AdapterConfig Configure(IAdapterMethod method, AdapterConfig? given, TrainingOptions options, bool refusesForeign = true)
    {
        (string Flag, string[] Keys, JsonNode? Value)[] set = [.. Set(options)];
        if (set.Length == 0 && given is not null)
        {
            return given;
        }

        List<string> faults = [];
        JsonObject json = given?.ToJson() ?? [];
        foreach ((string flag, string[] keys, JsonNode? value) in set)
        {
            if (keys.FirstOrDefault(method.Keys.Contains) is { } key)
            {
                json[key] = value?.DeepClone();
            }
            else if (refusesForeign)
            {
                faults.Add($"{flag} means nothing to --method {method.Name}, whose options are {string.Join(", ", method.Keys.Order(StringComparer.Ordinal))}.");
            }
        }

        Reconcile(json, options);
        return faults.Count == 0 ? method.ReadConfig(json, "options") : throw new ConfigurationException(faults);
    }

    // The flags that are set, with the keys that methods know them by, the first that fits counting.
    private static IEnumerable<(string Flag, string[] Keys, JsonNode? Value)> Set(TrainingOptions o)
    {
        (string, string[], JsonNode?)[] all =
        [
            ("--rank", ["init_r", "r"], o.Rank),
            ("--alpha", ["lora_alpha", "alpha"], o.Alpha),
            ("--dropout", ["lora_dropout", "vera_dropout"], o.Dropout),
            ("--rslora", ["use_rslora"], o.RsLora),
            ("--targets", ["target_modules", "parameters"], o.Targets?.ToJson()),
            ("--exclude-modules", ["exclude_modules"], o.ExcludeModules?.ToJson()),
            ("--layers-to-transform", ["layers_to_transform"], o.LayersToTransform is null ? null : new JsonArray([.. o.LayersToTransform.Select(l => (JsonNode)l)])),
            ("--rank-pattern", ["rank_pattern"], o.RankPattern is null ? null : new JsonObject(o.RankPattern.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)p.Value)))),
            ("--alpha-pattern", ["alpha_pattern"], o.AlphaPattern is null ? null : new JsonObject(o.AlphaPattern.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)p.Value)))),
            ("--bias", ["bias"], o.Bias),
            ("--modules-to-save", ["modules_to_save"], o.ModulesToSave is null ? null : new JsonArray([.. o.ModulesToSave.Select(m => (JsonNode)m)])),
            ("--init-lora-weights", ["init_lora_weights"], o.InitLoraWeights switch
            {
                null => null,
                "default" => true,
                "random" => false,
                var name => name,
            }),
            ("--method dora", ["use_dora"], o.Method == MethodNames.Dora ? true : null),
        ];
        return all.Where(s => s.Item3 is not null)
            .Concat(o.MethodOptions.Select(p => ($"--{p.Key.Replace('_', '-').ToLowerInvariant()}", (string[])[p.Key], p.Value)));
    }

    // Where two keys say the same in two ways, the one that was set counts; LoRA alone adapts every linear layer by default.
    private static void Reconcile(JsonObject json, TrainingOptions options)
    {
        if (options.Rank is not null && !options.MethodOptions.ContainsKey("oft_block_size") && json.ContainsKey("oft_block_size"))
        {
            json["oft_block_size"] = 0;
        }

        if (options.MethodOptions.ContainsKey("oft_block_size") && options.Rank is null && json.ContainsKey("r"))
        {
            json["r"] = 0;
        }

        if (options.MethodOptions.ContainsKey("boft_block_num") && !options.MethodOptions.ContainsKey("boft_block_size") && json.ContainsKey("boft_block_size"))
        {
            json["boft_block_size"] = 0;
        }

        if (options.MethodOptions.ContainsKey("boft_block_size") && json.ContainsKey("boft_block_num"))
        {
            json["boft_block_num"] = 0;
        }
    }
}
