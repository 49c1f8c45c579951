using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>
/// Low-rank adaptation (Hu et al. 2021) as PEFT does it: <c>y = base(x) + scaling * B(A(dropout(x)))</c> on linear layers
/// and embeddings, with trained biases and saved modules beside it.
/// </summary>
public sealed class LoraMethod : IAdapterMethod
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "LORA";

    /// <inheritdoc/>
    public string Name => "lora";

    /// <inheritdoc/>
    public string? PeftType => Type;

    /// <inheritdoc/>
    public AdapterConfig ReadConfig(JsonObject json, string source) => LoraConfig.FromJson(json, source);

    /// <inheritdoc/>
    public AdapterPlan Plan(LinearSites sites, AdapterConfig config)
    {
        ArgumentNullException.ThrowIfNull(sites);
        if (config is not LoraConfig lora)
        {
            throw new ArgumentException($"LoRA takes a {nameof(LoraConfig)}, not a {config?.GetType().Name}.", nameof(config));
        }

        lora.Validate();
        // Modules to save match by the bare end of the path, so that 'classifier' takes 'pre_classifier' too: what is trained
        // whole needs no adapter beside it.
        IReadOnlyList<LinearModule> modules =
        [
            .. new TargetModuleMatcher(lora.TargetOptions()).Select(sites).Where(m => SavedModules.Owner(m.Path + ".weight", lora.AllModulesToSave) is null),
        ];
        if (modules.Where(m => m.Kind == LinearKind.Convolution).Select(m => m.Path).ToArray() is { Length: > 0 } convolutions)
        {
            throw new ConfigurationException($"target_modules: LoRA on convolutions is not supported: {string.Join(", ", convolutions)}. Exclude them with exclude_modules.");
        }

        return new LoraPlan(Resolve(lora, modules, sites), modules, sites);
    }

    // The file that PEFT writes lists what 'all-linear' meant, and says how the base holds its weights.
    private static LoraConfig Resolve(LoraConfig config, IReadOnlyList<LinearModule> modules, LinearSites sites)
    {
        LoraConfig resolved = config;
        if (config.TargetModules!.IsAllLinear)
        {
            HashSet<string> targets = [.. modules.Select(m => m.Path)];
            resolved = (LoraConfig)config.WithTargets(ModuleSelector.OfNames(
                TargetModuleShortening.Shorten(targets, sites.ModulePaths().Where(p => !targets.Contains(p)))));
        }

        if (config.FanInFanOut is null)
        {
            resolved = (LoraConfig)resolved.WithTargets(resolved.TargetModules!);
            LinearModule[] linears = [.. modules.Where(m => m.Kind == LinearKind.Linear)];
            resolved.FanInFanOut = linears.Length > 0 && linears.All(m => ParameterFinder.IsConv1D(m.Sites[0]));
        }

        return resolved;
    }
}
