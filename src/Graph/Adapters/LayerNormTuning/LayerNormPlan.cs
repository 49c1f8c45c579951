using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.LayerNormTuning;

/// <summary>The trained norms of one model; merging puts the trained values in place.</summary>
internal sealed class LayerNormPlan : TargetedPlan
{
    public LayerNormPlan(LayerNormConfig config, LinearSites sites, IReadOnlySet<string> norms)
        : base(config, sites, [])
    {
        HashSet<ModelParameter> saved = [.. base.TrainedWeights.Select(w => w.Parameter)];
        TrainedWeights =
        [
            .. sites.Parameters
                .Where(p => norms.Contains(p.ModulePath) && !saved.Contains(p))
                .Select(p => new TrainedWeight(p, PeftKeys.Of($"{p.ModulePath}.ln_tuning_layers{p.Name[p.ModulePath.Length..]}"), IsCopy: true)),
            .. base.TrainedWeights,
        ];
    }

    public override IReadOnlyList<TrainedWeight> TrainedWeights { get; }
}
