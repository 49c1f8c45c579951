using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.Targets;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>Options that all adapter methods share, under the keys of PEFT's configuration files.</summary>
public abstract class AdapterConfig
{
    // Modules that PEFT's wrapper of a task adds: the freshly initialised head must be trained.
    private static readonly Dictionary<string, string[]> HeadsOfTask = new(StringComparer.Ordinal)
    {
        ["SEQ_CLS"] = ["classifier", "score"],
        ["TOKEN_CLS"] = ["classifier", "score"],
        ["QUESTION_ANS"] = ["qa_outputs"],
    };

    // What PEFT writes for every method.
    private static readonly string[] CommonKeys =
    [
        "auto_mapping", "base_model_name_or_path", "inference_mode", "modules_to_save", "peft_type", "peft_version", "revision", "task_type",
    ];

    /// <summary>PEFT's name of the method (<c>peft_type</c>), or null if PEFT has no such method.</summary>
    public virtual string? PeftType => null;

    /// <summary><c>task_type</c>: CAUSAL_LM, SEQ_CLS, TOKEN_CLS and so on; null if not stated.</summary>
    public string? TaskType { get; set; }

    /// <summary><c>base_model_name_or_path</c>: what servers compare with the model they serve.</summary>
    public string? BaseModelNameOrPath { get; set; }

    /// <summary><c>modules_to_save</c>: modules trained whole, by the end of their paths (without regard to dots).</summary>
    public IReadOnlyList<string> ModulesToSave { get; set; } = [];

    /// <summary>The keys and values of the file that the configuration was read from, for writing it back.</summary>
    public JsonObject? Source { get; protected set; }

    /// <summary>
    /// Keys of the file that nothing here knows, as a later PEFT may write them, and that are set: what they mean is not applied.
    /// </summary>
    public IReadOnlyList<string> UnknownKeys =>
        [.. (Source ?? []).Where(p => IsSet(p.Value)).Select(p => p.Key).Except(CommonKeys).Except(KnownKeys).Order(StringComparer.Ordinal)];

    /// <summary>
    /// <see cref="ModulesToSave"/> with the heads that the task adds: classifier and score for sequence and token
    /// classification, whether the model has them or not.
    /// </summary>
    public IReadOnlyList<string> AllModulesToSave =>
        [.. ModulesToSave.Concat(HeadsOfTask.GetValueOrDefault(TaskType ?? "", [])).Distinct(StringComparer.Ordinal)];

    /// <summary>Keys of the method's own, in any version of PEFT that is known here.</summary>
    protected abstract IEnumerable<string> KnownKeys { get; }

    /// <summary>What to tell the user of <see cref="UnknownKeys"/>; null if there are none.</summary>
    /// <param name="source">Where the configuration was read from.</param>
    public string? UnknownKeysWarning(string source) => UnknownKeys.Count == 0
        ? null
        : $"The configuration of '{source}' has keys that this version does not know and does not apply: {string.Join(", ", UnknownKeys)}. If they change the adapter's numbers, results differ from PEFT's; take them out, or save the adapter without them.";

    /// <summary>
    /// Whether the module's own weight is trained, so that it stays in floats whatever the base is: the module, or one that
    /// contains it, is among <see cref="AllModulesToSave"/>.
    /// </summary>
    public virtual bool TrainsWhole(string modulePath) => SavedModules.Owner(modulePath + ".", AllModulesToSave) is not null;

    /// <summary>The content of <c>adapter_config.json</c>.</summary>
    public abstract JsonObject ToJson();

    /// <summary>A copy whose targets are the given selector, as found in a model.</summary>
    public abstract AdapterConfig WithTargets(ModuleSelector targets);

    // Off in every form that PEFT writes a default in.
    private static bool IsSet(JsonNode? value) => value switch
    {
        null => false,
        JsonObject map => map.Count > 0,
        JsonArray list => list.Count > 0,
        _ => value.ToJsonString() is not ("false" or "0" or "0.0" or "\"\""),
    };
}
