using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Ia3;

/// <summary>
/// (IA)3 (Liu et al. 2022, arXiv 2205.05638): a vector scales the output of a layer, bias included, or the input of a
/// feed-forward layer.
/// </summary>
public sealed class Ia3Method : TargetedMethod<Ia3Config>
{
    /// <summary>PEFT's name of the method.</summary>
    public const string Type = "IA3";

    // Keys, values and the second feed-forward layer of the usual architectures: targets, then the feed-forward ones among them.
    private static readonly (string[] Targets, string[] Feedforward)[] Families =
    [
        (["k_proj", "v_proj", "down_proj"], ["down_proj"]),
        (["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
        (["key", "value", "output.dense"], ["output.dense"]),
        (["query_key_value", "mlp.dense_4h_to_h"], ["mlp.dense_4h_to_h"]),
        (["k_proj", "v_proj", "fc2"], ["fc2"]),
        (["k", "v", "wo"], ["wo"]),
    ];

    /// <inheritdoc/>
    public override string Name => "ia3";

    /// <inheritdoc/>
    public override string? PeftType => Type;

    /// <inheritdoc/>
    public override AdapterConfig ReadConfig(JsonObject json, string source) => Ia3Config.FromJson(json, source);

    /// <inheritdoc/>
    protected override ModuleSelector DefaultTargets(LinearSites sites) => ModuleSelector.OfNames(Family(sites).Targets);

    /// <inheritdoc/>
    protected override AdapterPlan Plan(LinearSites sites, Ia3Config config, IReadOnlyList<LinearModule> modules)
    {
        config.FeedforwardModules ??= ModuleSelector.OfNames(Family(sites).Feedforward);
        config.FanInFanOut ??= modules.All(m => ParameterFinder.IsConv1D(m.Sites[0]));
        return new Ia3Plan(config, sites, modules);
    }

    private static (string[] Targets, string[] Feedforward) Family(LinearSites sites)
    {
        foreach ((string[] Targets, string[] Feedforward) family in Families)
        {
            if (family.Targets.All(t => sites.Modules.Any(m => m.Path.EndsWith("." + t, StringComparison.Ordinal))))
            {
                return family;
            }
        }

        throw new ConfigurationException(
            "target_modules: (IA)3 scales keys, values and the feed-forward layers, and this model's names do not tell which those are. Name them: target_modules, and feedforward_modules for those whose input is scaled.");
    }
}
