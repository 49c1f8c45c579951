using System.Text.Json.Nodes;
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
    public IReadOnlySet<string> Keys => LoraConfigJson.Keys;

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
        TargetSelection selection = new(sites, lora.TargetOptions());
        selection.Require(Name, LinearKind.Linear, LinearKind.Embedding);
        IReadOnlyList<LinearModule> modules = selection.Modules;
        return new LoraPlan(Resolve(lora, selection), modules, sites);
    }

    // The file that PEFT writes lists what 'all-linear' meant, and says how the base holds its weights.
    private static LoraConfig Resolve(LoraConfig config, TargetSelection selection)
    {
        LoraConfig resolved = config.TargetModules is null or { IsAllLinear: true } ? (LoraConfig)config.WithTargets(selection.Resolved) : config;
        if (config.FanInFanOut is null)
        {
            resolved = (LoraConfig)resolved.WithTargets(resolved.TargetModules!);
            LinearModule[] linears = [.. selection.Modules.Where(m => m.Kind == LinearKind.Linear)];
            resolved.FanInFanOut = linears.Length > 0 && linears.All(m => ParameterFinder.IsConv1D(m.Sites[0]));
        }

        return resolved;
    }
}
