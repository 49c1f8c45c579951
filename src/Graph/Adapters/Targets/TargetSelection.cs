using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Targets;

/// <summary>The modules of one model that get an adapter.</summary>
internal sealed class TargetSelection
{
    /// <summary>Chooses.</summary>
    /// <exception cref="ConfigurationException">No module matches.</exception>
    public TargetSelection(LinearSites sites, TargetOptions options)
    {
        // Modules to save match by the bare end of the path, so that 'classifier' takes 'pre_classifier' too: what is trained
        // whole needs no adapter beside it.
        Modules = [.. new TargetModuleMatcher(options).Select(sites).Where(m => SavedModules.Owner(m.Path + ".weight", options.ModulesToSave) is null)];
        HashSet<string> targets = [.. Modules.Select(m => m.Path)];
        Resolved = options.TargetModules.IsAllLinear
            ? ModuleSelector.OfNames(TargetModuleShortening.Shorten(targets, sites.ModulePaths().Where(p => !targets.Contains(p))))
            : options.TargetModules;
    }

    /// <summary>The modules, in graph order.</summary>
    public IReadOnlyList<LinearModule> Modules { get; }

    /// <summary>The selector as files hold it: what <c>all-linear</c> meant in this model is listed.</summary>
    public ModuleSelector Resolved { get; }

    /// <summary>Throws if a module is of a kind that the method cannot adapt.</summary>
    /// <exception cref="ConfigurationException">Names the modules.</exception>
    public void Require(string method, params IReadOnlyCollection<LinearKind> kinds)
    {
        if (Modules.Where(m => !kinds.Contains(m.Kind)).ToArray() is { Length: > 0 } others)
        {
            throw new ConfigurationException(
                $"target_modules: method '{method}' does not work on {string.Join(", ", others.Select(m => $"{m.Path} ({m.Kind.ToString().ToLowerInvariant()})"))}. Exclude them with exclude_modules.");
        }
    }
}
