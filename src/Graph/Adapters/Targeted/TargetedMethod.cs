using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Targeted;

/// <summary>A method that acts on chosen layers, each by itself.</summary>
/// <typeparam name="TConfig">Its configuration.</typeparam>
public abstract class TargetedMethod<TConfig> : IAdapterMethod
    where TConfig : TargetedConfig, new()
{
    /// <inheritdoc/>
    public abstract string Name { get; }

    /// <inheritdoc/>
    public abstract string? PeftType { get; }

    /// <inheritdoc/>
    public IReadOnlySet<string> Keys => field ??= TargetedConfig.KeysOf(new TConfig()).Concat(DetailKeys).ToHashSet(StringComparer.Ordinal);

    /// <summary>Keys that options may set and that stand in files only where they mean something.</summary>
    protected virtual IEnumerable<string> DetailKeys => [];

    /// <summary>The kinds of modules that the method works on.</summary>
    protected virtual IReadOnlyCollection<LinearKind> Kinds => [LinearKind.Linear];

    /// <inheritdoc/>
    public abstract AdapterConfig ReadConfig(JsonObject json, string source);

    /// <inheritdoc/>
    public AdapterPlan Plan(LinearSites sites, AdapterConfig config)
    {
        ArgumentNullException.ThrowIfNull(sites);
        if (config is not TConfig options)
        {
            throw new ArgumentException($"Method '{Name}' takes a {typeof(TConfig).Name}, not a {config?.GetType().Name}.", nameof(config));
        }

        options.Validate();
        TargetSelection selection = new(sites, options.TargetOptions(options.TargetModules ?? DefaultTargets(sites)));
        selection.Require(Name, Kinds);
        return Plan(sites, (TConfig)options.WithTargets(selection.Resolved), selection.Modules);
    }

    /// <summary>The modules taken where the configuration names none.</summary>
    protected virtual ModuleSelector DefaultTargets(LinearSites sites) => ModuleSelector.AllLinear;

    /// <summary>Makes the plan for the chosen modules.</summary>
    protected abstract AdapterPlan Plan(LinearSites sites, TConfig config, IReadOnlyList<LinearModule> modules);
}
