using System.Globalization;
using System.Text.RegularExpressions;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Targets;

/// <summary>
/// Decides which modules an adapter is put on, by the rules of PEFT's <c>check_target_module_exists</c>: exclusions
/// first, then modules to save, then the targets, then the layer index.
/// </summary>
public sealed class TargetModuleMatcher
{
    private readonly TargetOptions _options;
    private readonly PythonRegex? _target;
    private readonly PythonRegex? _exclude;
    private readonly PythonRegex[] _modulesToSave;
    private readonly PythonRegex[] _layerIndex;

    /// <summary>Creates a matcher.</summary>
    /// <exception cref="ConfigurationException">A pattern is invalid, or options contradict each other.</exception>
    public TargetModuleMatcher(TargetOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        if (options.LayersToTransform is { Count: > 0 } && options.TargetModules.Names is null)
        {
            throw new ConfigurationException(
                $"layers_to_transform goes with a list of target_modules only, not with '{options.TargetModules}'; put the layer numbers into the expression instead.");
        }

        if (options.LayersPattern is { Count: > 0 } && options.LayersToTransform is not { Count: > 0 })
        {
            throw new ConfigurationException("layers_pattern has no effect without layers_to_transform; give both or neither.");
        }

        _target = options.TargetModules.Regex is { } regex ? PythonRegex.FullMatch("target_modules", regex) : null;
        _exclude = options.ExcludeModules?.Regex is { } exclude ? PythonRegex.FullMatch("exclude_modules", exclude) : null;
        _modulesToSave = [.. options.ModulesToSave.Select(m => PythonRegex.Match("modules_to_save", m, @"(^|.*\.){0}($|\..*)"))];
        _layerIndex = options.LayersPattern is { Count: > 0 } patterns
            ? [.. patterns.Select(p => PythonRegex.Match("layers_pattern", p, @".*\.{0}\.(\d+)\."))]
            : [PythonRegex.Match("layers_pattern", @".*\.[^.]*\.(\d+)\.")];
    }

    /// <summary>The modules that get an adapter, in the order of their first use in the graph.</summary>
    /// <param name="sites">Every linear of the model.</param>
    /// <exception cref="ConfigurationException">No module matches; near misses are listed.</exception>
    public IReadOnlyList<LinearModule> Select(LinearSites sites)
    {
        ArgumentNullException.ThrowIfNull(sites);
        LinearModule[] selected = [.. sites.Modules.Where(Matches)];
        return selected.Length > 0
            ? selected
            : throw new ConfigurationException(
                $"target_modules: no linear layer or embedding of the model matches '{_options.TargetModules}'"
                + $"{(_options.ExcludeModules is null ? "" : $" once '{_options.ExcludeModules}' is excluded")}. {NearMisses.Describe(_options.TargetModules, sites)}");
    }

    /// <summary>Whether a module gets an adapter.</summary>
    public bool Matches(LinearModule module)
    {
        ArgumentNullException.ThrowIfNull(module);
        return _options.TargetModules.IsAllLinear
            ? module.Kind == LinearKind.Linear && !module.IsOutputHead && IsFree(module.Path)
            : Matches(module.Path);
    }

    /// <summary>Whether a module of any kind gets an adapter, by its path; <c>all-linear</c> means none.</summary>
    public bool Matches(string path)
    {
        if (!IsFree(path))
        {
            return false;
        }

        if (_target is not null)
        {
            return _target.IsMatch(path);
        }

        return _options.TargetModules.Names is { } names
            && (names.Contains(path) || (names.Any(n => path.EndsWith("." + n, StringComparison.Ordinal)) && IsLayerMeant(path)));
    }

    /// <summary>Whether <c>exclude_modules</c> names a module.</summary>
    public bool IsExcluded(string path) => _options.ExcludeModules switch
    {
        null => false,
        { Names: { } names } => names.Any(n => path == n || path.EndsWith("." + n, StringComparison.Ordinal)),
        _ => _exclude?.IsMatch(path) ?? false,
    };

    private bool IsFree(string path) => !IsExcluded(path) && !_modulesToSave.Any(m => m.IsMatch(path));

    private bool IsLayerMeant(string path)
    {
        if (_options.LayersToTransform is not { Count: > 0 } layers)
        {
            return true;
        }

        Match? match = _layerIndex.Select(p => p.Find(path)).FirstOrDefault(m => m.Success);
        return match is not null
            && int.TryParse(match.Groups[^1].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out int index)
            && layers.Contains(index);
    }
}
