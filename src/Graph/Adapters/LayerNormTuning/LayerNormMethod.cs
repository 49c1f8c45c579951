using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.LayerNormTuning;

/// <summary>LayerNorm tuning (Zhao et al. 2023, arXiv 2312.11420): the norms are trained, everything else stays.</summary>
public sealed class LayerNormMethod : IAdapterMethod
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "LN_TUNING";

    /// <inheritdoc/>
    public string Name => "ln-tuning";

    /// <inheritdoc/>
    public string? PeftType => Type;

    /// <inheritdoc/>
    public IReadOnlySet<string> Keys { get; } = TargetedConfig.KeysOf(new LayerNormConfig());

    /// <inheritdoc/>
    public AdapterConfig ReadConfig(JsonObject json, string source) => LayerNormConfig.FromJson(json, source);

    /// <inheritdoc/>
    public AdapterPlan Plan(LinearSites sites, AdapterConfig config)
    {
        ArgumentNullException.ThrowIfNull(sites);
        if (config is not LayerNormConfig options)
        {
            throw new ArgumentException($"LayerNorm tuning takes a {nameof(LayerNormConfig)}, not a {config?.GetType().Name}.", nameof(config));
        }

        string[] norms = [.. sites.Parameters.Where(p => p.WeightOf is null && p.BiasOf is null).Select(p => p.ModulePath).Where(p => p.Length > 0).Distinct()];
        ModuleSelector targets = options.TargetModules is null or { IsAllLinear: true }
            ? ModuleSelector.OfNames(norms.Select(n => n[(n.LastIndexOf('.') + 1)..]).Distinct())
            : options.TargetModules;
        TargetModuleMatcher matcher = new(options.TargetOptions(targets));
        HashSet<string> chosen = [.. norms.Where(matcher.Matches)];
        if (chosen.Count == 0)
        {
            throw new ConfigurationException(
                $"target_modules: no norm of the model matches '{targets}'. Its norms: {(norms.Length == 0 ? "none has a name" : string.Join(", ", norms.Take(12)))}{(norms.Length > 12 ? ", ..." : "")}.");
        }

        return new LayerNormPlan((LayerNormConfig)options.WithTargets(targets), sites, chosen);
    }
}
