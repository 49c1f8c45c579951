using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targets;

namespace OrtQLoRA.Graph.Adapters.BaseWeights;

/// <summary>Options of the methods that train weights of the base model themselves.</summary>
public sealed class BaseWeightConfig : AdapterConfig
{
    internal static readonly IReadOnlySet<string> Keys = new HashSet<string>(StringComparer.Ordinal) { "task_type", "modules_to_save", "parameters" };

    /// <summary>
    /// Which parameters are trained, by PyTorch's names: a list of endings of their names or of their modules' paths, or one
    /// expression that must match a parameter's whole name. Null takes the method's own choice.
    /// </summary>
    public ModuleSelector? Parameters { get; set; }

    /// <summary>Whether <see cref="Parameters"/> leaves the choice to the method.</summary>
    internal bool IsMethodsChoice => Parameters is null or { IsAllLinear: true };

    /// <inheritdoc/>
    public override bool TrainsWhole(string modulePath) =>
        base.TrainsWhole(modulePath) || (!IsMethodsChoice && CreateMatcher()(modulePath + ".weight"));

    /// <summary>Tells of a parameter, by its name, whether <see cref="Parameters"/> means it.</summary>
    /// <exception cref="ConfigurationException">The regular expression is invalid.</exception>
    internal Func<string, bool> CreateMatcher()
    {
        if (Parameters?.Regex is { } pattern)
        {
            return PythonRegex.FullMatch("parameters", pattern).IsMatch;
        }

        IReadOnlyList<string> names = Parameters?.Names ?? [];
        return parameter => names.Any(n => HasEnding(parameter, n) || HasEnding(parameter[..Math.Max(parameter.LastIndexOf('.'), 0)], n));
    }

    /// <inheritdoc/>
    protected override IEnumerable<string> KnownKeys => ["parameters"];

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

    private static bool HasEnding(string path, string ending) => path == ending || path.EndsWith("." + ending, StringComparison.Ordinal);

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
