using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Targets;

/// <summary>Says what a model has where nothing matched.</summary>
internal static class NearMisses
{
    private const int Shown = 12;

    /// <summary>The modules whose names come close to what was asked for, or a summary of all module names.</summary>
    public static string Describe(ModuleSelector selector, LinearSites sites)
    {
        if (sites.Modules.Count == 0)
        {
            return "The model has no MatMul, Gemm or Gather with constant float weights at all; is it the right file, or are its weights graph inputs?";
        }

        string[] close = [.. sites.Modules
            .Select(m => (m.Path, Distance: Wanted(selector).Select(w => Closeness(w, m.Path)).DefaultIfEmpty(int.MaxValue).Min()))
            .Where(m => m.Distance <= 2)
            .OrderBy(m => m.Distance)
            .Select(m => m.Path)
            .Take(Shown)];
        string[] all = [.. sites.Modules
            .GroupBy(m => m.Path[(m.Path.LastIndexOf('.') + 1)..])
            .Select(g => g.Count() == 1 ? g.Key : $"{g.Key} (x{g.Count()})")];
        string summary = string.Join(", ", all.Take(3 * Shown)) + (all.Length > 3 * Shown ? ", ..." : "");
        return (close.Length > 0 ? $"Near misses: {string.Join(", ", close)}. " : "")
            + $"The model's modules end in: {summary}; the first is '{sites.Modules[0].Path}'. Use one of these endings, a full path, or '{ModuleSelector.AllLinearWord}'.";
    }

    private static IEnumerable<string> Wanted(ModuleSelector selector) =>
        selector.Names ?? (selector.Regex is null ? [] : selector.Regex.Split(['.', '\\', '|', '(', ')', '*', '^', '$', '?', '+'], StringSplitOptions.RemoveEmptyEntries));

    private static int Closeness(string wanted, string path)
    {
        string[] segments = path.Split('.');
        int depth = wanted.Count(c => c == '.') + 1;
        string tail = string.Join('.', segments.TakeLast(depth));
        return string.Equals(wanted, tail, StringComparison.OrdinalIgnoreCase) ? 0
            : wanted.Length >= 3 && tail.Contains(wanted, StringComparison.OrdinalIgnoreCase) ? 1
            : NearestName.Distance(wanted, tail);
    }
}
