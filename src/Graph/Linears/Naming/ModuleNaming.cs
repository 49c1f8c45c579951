using System.Text.RegularExpressions;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears.Naming;

/// <summary>
/// Gives every site its module path. Sources, best first: where exporter metadata and parameter name disagree, see
/// <see cref="Choose"/>; else whichever is there; else the bias's name; else the node's or initializer's own name.
/// </summary>
internal sealed partial class ModuleNaming
{
    private static readonly HashSet<string> HeadNames = new(StringComparer.Ordinal)
    {
        "lm_head", "proj_out", "embed_out", "output_projection", "output_layer", "head", "decoder", "score", "classifier",
    };

    private readonly IReadOnlyList<LinearSite> _sites;
    private readonly HashSet<Value> _embeddingWeights;
    private readonly bool _isGenAi;

    private ModuleNaming(OnnxModel model, IReadOnlyList<LinearSite> sites)
    {
        _sites = sites;
        _embeddingWeights = [.. sites.Where(m => m.Kind == LinearKind.Embedding).Select(m => m.Weight)];
        _isGenAi = model.ProducerName?.Contains("genai", StringComparison.OrdinalIgnoreCase) == true
            || sites.Any(m => m.Weight.Name.Contains(".MatMul.weight", StringComparison.Ordinal));
    }

    /// <summary>Sets the module path of every site. Sites with one weight and kind share a path; others differ.</summary>
    public static void Apply(OnnxModel model, IReadOnlyList<LinearSite> sites) => new ModuleNaming(model, sites).NameAll();

    /// <summary>
    /// The GenAI builder calls every attention module <c>attn</c> and the last norm <c>layers.N.final_norm_layernorm</c>;
    /// the models that it builds from call them <c>self_attn</c> and <c>norm</c>.
    /// </summary>
    internal static string UndoBuilderNames(string path) =>
        BuilderFinalNorm().Replace(BuilderAttention().Replace(path, "$1layers.$2.self_attn"), "$1norm");

    private void NameAll()
    {
        Dictionary<(Value, LinearKind, WeightSlice?), string> byWeight = [];
        foreach (IGrouping<(Value, LinearKind, WeightSlice?), LinearSite> group in _sites.GroupBy(m => (m.Weight, m.Kind, m.Slice)))
        {
            string[] paths = [.. group.Select(Choose).Distinct()];
            byWeight[group.Key] = paths.Length > 1 && OwnPath(group.First()) is { } own && !IsNamedForOtherKind(group.First(), own) ? own : paths[0];
        }

        HashSet<string> taken = new(StringComparer.Ordinal);
        Dictionary<(Value, LinearKind, WeightSlice?), string> unique = [];
        foreach (LinearSite site in _sites)
        {
            (Value, LinearKind, WeightSlice?) key = (site.Weight, site.Kind, site.Slice);
            if (!unique.TryGetValue(key, out string? path))
            {
                unique[key] = path = MakeUnique(site, byWeight[key], taken);
            }

            site.ModulePath = path;
        }
    }

    private string Choose(LinearSite site)
    {
        if (site.ModulePath.Length > 0)
        {
            // The pattern knows better: one of several modules in a fused operator.
            return site.ModulePath;
        }

        string? own = OwnPath(site);
        NodeScopes.Scope? scope = NodeScopes.Of(site.Node);
        string path = (own, scope) switch
        {
            (null, null) => BiasPath(site) ?? Fallback(site),
            (null, { IsRecorded: true }) => scope.Path,
            (null, _) => BiasPath(site) ?? scope.Path,
            (_, null) => own,

            // A parameter that the module holds directly (MultiheadAttention's in_proj_weight), or a convolution that
            // the exporter folded into the batch normalisation behind it: the parameter's name says more.
            _ when own == scope.Path || own.StartsWith(scope.Path + ".", StringComparison.Ordinal) || site.Kind == LinearKind.Convolution => own,
            _ when scope.IsRecorded => scope.Path,

            // Tied weights carry one of their two names, for the other use only the node knows better.
            _ => IsNamedForOtherKind(site, own) ? scope.Path : own,
        };
        return _isGenAi ? UndoBuilderNames(path) : path;
    }

    private static string? OwnPath(LinearSite site)
    {
        string name = site.Weight.Name;
        return InitializerNames.IsParameterPath(name) ? InitializerNames.ModulePath(InitializerNames.Clean(name)) : null;
    }

    private static string? BiasPath(LinearSite site) =>
        site.Bias?.Name is { } name && InitializerNames.IsParameterPath(name) && InitializerNames.EndsAsBias(name)
            ? InitializerNames.ModulePath(InitializerNames.Clean(name))
            : null;

    private static string Fallback(LinearSite site)
    {
        string name = !InitializerNames.IsAnonymous(site.Weight.Name) ? site.Weight.Name
            : site.Node.Name.Length > 0 ? site.Node.Name
            : site.Weight.Name;
        return name.Trim('/').Replace("::", ".", StringComparison.Ordinal).Replace('/', '.');
    }

    private bool IsNamedForOtherKind(LinearSite site, string own)
    {
        bool isHeadName = HeadNames.Contains(own[(own.LastIndexOf('.') + 1)..]);
        return site.Kind == LinearKind.Embedding ? isHeadName : _embeddingWeights.Contains(site.Weight) && !isHeadName;
    }

    private static string MakeUnique(LinearSite site, string path, HashSet<string> taken)
    {
        if (taken.Add(path))
        {
            return path;
        }

        if (OwnPath(site) is { } own && taken.Add(own))
        {
            return own;
        }

        string last = site.Kind == LinearKind.Embedding ? "embedding" : site.Node.Name[(site.Node.Name.LastIndexOf('/') + 1)..];
        string stem = last.Length > 0 ? $"{path}.{last}" : path;
        string name = stem;
        for (int i = 1; !taken.Add(name); i++)
        {
            name = $"{stem}_{i}";
        }

        return name;
    }

    [GeneratedRegex(@"(^|\.)layers\.(\d+)\.attn(?=\.|$)")]
    private static partial Regex BuilderAttention();

    [GeneratedRegex(@"(^|\.)layers\.\d+\.final_norm_layernorm(?=\.|$)")]
    private static partial Regex BuilderFinalNorm();
}
