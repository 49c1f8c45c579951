using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>
/// Low-rank adaptation (Hu et al. 2021) as PEFT does it: <c>y = base(x) + scaling * B(A(dropout(x)))</c> on linear layers,
/// embeddings and convolutions, with trained biases and saved modules beside it.
/// </summary>
public sealed class LoraMethod : TargetedMethod<LoraConfig>
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "LORA";

    /// <inheritdoc/>
    public override string Name => "lora";

    /// <inheritdoc/>
    public override string? PeftType => Type;

    /// <inheritdoc/>
    protected override IEnumerable<string> DetailKeys => LoraInitializationJson.DetailKeys;

    /// <inheritdoc/>
    protected override IReadOnlyCollection<LinearKind> Kinds => [LinearKind.Linear, LinearKind.Embedding, LinearKind.Convolution];

    /// <inheritdoc/>
    public override AdapterConfig ReadConfig(JsonObject json, string source) => LoraConfig.FromJson(json, source);

    /// <inheritdoc/>
    protected override AdapterPlan Plan(LinearSites sites, LoraConfig config, IReadOnlyList<LinearModule> modules)
    {
        // The file that PEFT writes says how the base holds its weights.
        LinearModule[] linears = [.. modules.Where(m => m.Kind == LinearKind.Linear)];
        config.FanInFanOut ??= linears.Length > 0 && linears.All(m => ParameterFinder.IsConv1D(m.Sites[0]));
        return new LoraPlan(config, modules, sites);
    }
}
