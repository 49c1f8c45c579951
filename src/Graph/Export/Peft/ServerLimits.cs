using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Export.Peft;

/// <summary>
/// What Text Generation Inference and LoRAX make of an adapter: they read LoRA matrices of projections in equal ranks, and
/// pass over everything else without an error, so that results are wrong.
/// </summary>
internal static class ServerLimits
{
    // Ranks with kernels; others are padded, and the padded rank gets into the scaling of later layers.
    private static readonly int[] ServedRanks = [8, 16, 32, 64, 128];

    /// <summary>Everything that a server would ignore or get wrong; empty if nothing.</summary>
    public static IReadOnlyList<string> Warnings(IAdapterMethod method, AdapterPlan plan, LinearSites sites)
    {
        List<string> warnings = [];
        if (method.PeftType is null)
        {
            warnings.Add($"Method '{method.Name}' has no form in PEFT: the folder holds the changed weights under PyTorch's names, for torch's load_state_dict(strict=False). Export with --to merged for servers.");
            return warnings;
        }

        if (plan is not LoraPlan lora)
        {
            warnings.Add($"TGI and LoRAX load LoRA adapters only, not '{method.PeftType}'. PEFT loads it; export with --to merged for servers.");
            return warnings;
        }

        int[] ranks = [.. lora.Layers.Select(l => l.Rank).Distinct()];
        if (ranks.Length > 1)
        {
            warnings.Add($"The modules have ranks {string.Join(", ", ranks.Order())} (rank_pattern), which TGI and LoRAX ignore: they scale by alpha and rank of the whole adapter. PEFT loads it.");
        }

        if (ranks.Length == 1 && !ServedRanks.Contains(ranks[0]))
        {
            warnings.Add($"Rank {ranks[0]} is padded by TGI and LoRAX, which may then scale by the padded rank; {string.Join(", ", ServedRanks)} are safe.");
        }

        if (lora.Layers.Select(l => l.Scaling * l.Rank).Distinct().Count() > 1 && ranks.Length == 1)
        {
            warnings.Add("The modules have different alphas (alpha_pattern), which TGI and LoRAX ignore. PEFT loads it.");
        }

        AddIgnored(warnings, "LoRA on embeddings", lora.Layers.Where(l => l.IsEmbedding).Select(l => l.Module.Path));
        AddIgnored(warnings, "Biases of LoRA (lora_bias)", lora.Layers.Where(l => l.Bias is not null).Select(l => l.Module.Path));
        AddIgnored(warnings, "Magnitudes of DoRA (use_dora)", lora.Layers.Where(l => l.Magnitude is not null).Select(l => l.Module.Path));
        if (lora.ChangesBase)
        {
            warnings.Add("The adapter's start changed the base (init_lora_weights), which TGI and LoRAX do not do: outputs would be wrong. Make plain LoRA of it with ortqlora adapter convert --to lora.");
        }

        AddIgnored(warnings, "Weights that are trained whole (modules_to_save, bias)", plan.TrainedWeights.Select(w => w.Parameter.Name));
        AddIncomplete(warnings, lora, sites);
        return warnings;
    }

    private static void AddIgnored(List<string> warnings, string what, IEnumerable<string> names)
    {
        string[] found = [.. names];
        if (found.Length > 0)
        {
            warnings.Add($"{what} are ignored by TGI and LoRAX: {string.Join(", ", found.Take(5))}{(found.Length > 5 ? $" and {found.Length - 5} more" : "")}. PEFT loads them.");
        }
    }

    // Servers stack the matrices of a layer type over all layers.
    private static void AddIncomplete(List<string> warnings, LoraPlan lora, LinearSites sites)
    {
        HashSet<string> adapted = [.. lora.Layers.Select(l => l.Module.Path)];
        foreach (IGrouping<string, LinearModule> type in sites.Modules.Where(m => m.Kind == LinearKind.Linear && HasNumber(m.Path)).GroupBy(m => TypeOf(m.Path)))
        {
            int count = type.Count(m => adapted.Contains(m.Path));
            if (count > 0 && count < type.Count())
            {
                warnings.Add($"'{type.Key}' is adapted in {count} of {type.Count()} layers; TGI and LoRAX drop a type that is missing in any layer. PEFT loads it.");
            }
        }
    }

    private static bool HasNumber(string path) => path.Split('.').Any(s => int.TryParse(s, out _));

    private static string TypeOf(string path) => string.Join('.', path.Split('.').Select(s => int.TryParse(s, out _) ? "*" : s));
}
