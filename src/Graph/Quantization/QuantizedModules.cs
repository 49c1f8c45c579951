using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Quantization;

/// <summary>Which linear layers of a base are quantized, in training and wherever its result is exported.</summary>
public static class QuantizedModules
{
    /// <summary>
    /// <see cref="WeightQuantizationPass.IsQuantizedByDefault"/>, without the modules that an adapter trains whole and without
    /// those that are to stay as they are.
    /// </summary>
    /// <param name="config">The adapter's configuration.</param>
    /// <param name="kept">Layers that keep their weights, by name or regular expression; null for none.</param>
    /// <exception cref="ConfigurationException">The regular expression is invalid.</exception>
    public static Func<LinearModule, bool> Beside(AdapterConfig config, ModuleSelector? kept = null)
    {
        ArgumentNullException.ThrowIfNull(config);
        TargetModuleMatcher matcher = MatcherOf(kept);
        return module => WeightQuantizationPass.IsQuantizedByDefault(module) && !config.TrainsWhole(module.Path) && !IsKept(matcher, kept, module);
    }

    /// <summary>Throws where a selector means nothing in a model: most likely it is misspelt.</summary>
    /// <param name="sites">The model's layers.</param>
    /// <param name="kept">Layers that keep their weights; null for none.</param>
    /// <exception cref="ConfigurationException">A name, or the regular expression, matches no linear layer.</exception>
    public static void RequireFound(LinearSites sites, ModuleSelector? kept)
    {
        ArgumentNullException.ThrowIfNull(sites);
        foreach (ModuleSelector part in kept switch { null => [], { Names: { } names } => names.Select(n => ModuleSelector.OfNames(n)), _ => [kept] })
        {
            TargetModuleMatcher matcher = MatcherOf(part);
            if (!sites.Modules.Any(m => IsKept(matcher, part, m)))
            {
                throw new ConfigurationException($"quant-exclude: no linear layer of the model matches '{part}'. {NearMisses.Describe(part, sites)}");
            }
        }
    }

    private static TargetModuleMatcher MatcherOf(ModuleSelector? kept) =>
        new(new TargetOptions { TargetModules = ModuleSelector.AllLinear, ExcludeModules = kept });

    private static bool IsKept(TargetModuleMatcher matcher, ModuleSelector? kept, LinearModule module) =>
        kept is { IsAllLinear: true } || matcher.IsExcluded(module.Path);
}
