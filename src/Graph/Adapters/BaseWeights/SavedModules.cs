using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.BaseWeights;

/// <summary>
/// The parameters that <c>modules_to_save</c> means: all of every module (container or layer) whose path ends with an
/// entry. PEFT compares the plain text, without regard to dots: <c>norm</c> takes <c>input_layernorm</c> too.
/// </summary>
internal static class SavedModules
{
    /// <summary>The parameters with the path of the module to save that each lies in.</summary>
    public static IReadOnlyList<(ModelParameter Parameter, string ModulePath)> Find(LinearSites sites, IReadOnlyList<string> entries)
    {
        List<(ModelParameter, string)> found = [];
        foreach (ModelParameter parameter in sites.Parameters)
        {
            if (Owner(parameter.Name, entries) is { } path)
            {
                found.Add((parameter, path));
            }
        }

        RequireDense(sites, entries);
        return found;
    }

    /// <summary>The trained weights; each module gets a copy of its own.</summary>
    /// <param name="sites">The model.</param>
    /// <param name="entries">What <c>modules_to_save</c> names.</param>
    /// <param name="prefix">What the keys begin with.</param>
    public static IEnumerable<TrainedWeight> Train(LinearSites sites, IReadOnlyList<string> entries, string prefix = PeftKeys.Prefix) =>
        Find(sites, entries).Select(f => new TrainedWeight(f.Parameter, prefix + f.Parameter.Name, IsCopy: true));

    /// <summary>The outermost module on a parameter's path that an entry means, or null.</summary>
    public static string? Owner(string parameter, IReadOnlyList<string> entries)
    {
        for (int dot = parameter.IndexOf('.', StringComparison.Ordinal); dot >= 0; dot = parameter.IndexOf('.', dot + 1))
        {
            string path = parameter[..dot];
            if (entries.Any(e => path.EndsWith(e, StringComparison.Ordinal)))
            {
                return path;
            }
        }

        return null;
    }

    private static void RequireDense(LinearSites sites, IReadOnlyList<string> entries)
    {
        LinearModule[] quantized = [.. sites.Modules.Where(m => m.Storage != WeightStorage.Dense && Owner(m.Path + ".weight", entries) is not null)];
        if (quantized.Length > 0)
        {
            throw new ConfigurationException(
                $"modules_to_save names modules whose weights are quantized and cannot be trained: {string.Join(", ", quantized.Select(m => m.Path))}. Leave them out of the quantization.");
        }
    }
}
