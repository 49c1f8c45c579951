using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targets;

namespace OrtQLoRA.Graph.Adapters.BaseWeights;

/// <summary>Options of the methods that train weights of the base model themselves.</summary>
public sealed class BaseWeightConfig : AdapterConfig
{
    internal static readonly IReadOnlySet<string> Keys = new HashSet<string>(StringComparer.Ordinal) { "task_type", "modules_to_save", "parameters" };

    /// <summary>
    /// Which parameters are trained, by PyTorch's names: a list of name endings, or one expression that must match the
    /// whole name. Null takes the method's own choice.
    /// </summary>
    public ModuleSelector? Parameters { get; set; }

    /// <inheritdoc/>
    public override JsonObject ToJson() => new()
    {
        ["task_type"] = TaskType,
        ["base_model_name_or_path"] = BaseModelNameOrPath,
        ["modules_to_save"] = new JsonArray([.. ModulesToSave.Select(m => (JsonNode)m)]),
        ["parameters"] = Parameters?.ToJson(),
    };

    /// <inheritdoc/>
    public override AdapterConfig WithTargets(ModuleSelector targets)
    {
        BaseWeightConfig copy = (BaseWeightConfig)MemberwiseClone();
        copy.Parameters = targets;
        return copy;
    }

    internal static BaseWeightConfig FromJson(JsonObject json, string source)
    {
        ConfigReader reader = new(json, source);
        BaseWeightConfig config = new()
        {
            TaskType = reader.Text("task_type"),
            BaseModelNameOrPath = reader.Text("base_model_name_or_path"),
            ModulesToSave = reader.Texts("modules_to_save") ?? [],
            Parameters = reader.Selector("parameters"),
        };
        reader.ThrowIfFaulty();
        return config;
    }
}
