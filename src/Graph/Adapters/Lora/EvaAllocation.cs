using OrtQLoRA.Graph.Adapters.Targets;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>
/// EVA's redistribution of ranks: the directions of all layers are ordered by the share of variance that they explain, and as
/// many as the layers had ranks together are kept, wherever they lie.
/// </summary>
internal static class EvaAllocation
{
    /// <summary>The configuration with redistributed ranks: layers without any leave the targets.</summary>
    public static LoraConfig Redistribute(LoraPlan plan, LoraConfig config, ILayerStatistics statistics)
    {
        LoraLayer[] layers = [.. plan.Layers.Where(l => !l.IsEmbedding)];
        (LoraLayer Layer, double Share)[] directions =
        [
            .. layers.SelectMany(l =>
            {
                int most = (int)Math.Min(Math.Round(l.Rank * config.EvaRho), Math.Min(l.Module.InFeatures, l.Module.OutFeatures));
                return InputDirections.Of(statistics.Inputs(l.Module.Path, countedOnly: true), most, whitens: false).ExplainedShares.Select(s => (l, s));
            }),
        ];
        Dictionary<LoraLayer, int> ranks = directions.OrderByDescending(d => d.Share).Take(layers.Sum(l => l.Rank))
            .GroupBy(d => d.Layer).ToDictionary(g => g.Key, g => g.Count());
        LoraLayer[] kept = [.. layers.Where(ranks.ContainsKey)];
        LoraConfig redistributed = (LoraConfig)config.WithTargets(ModuleSelector.OfNames(
            kept.Select(l => l.Module.Path).Concat(plan.Layers.Where(l => l.IsEmbedding).Select(l => l.Module.Path))));
        redistributed.RankPattern = [.. kept.Where(l => ranks[l] != config.Rank).Select(l => KeyValuePair.Create(l.Module.Path, (double)ranks[l]))];

        // alpha / r stays as it was where alphas follow.
        redistributed.AlphaPattern = config.EvaAdjustsScaling
            ? [.. kept.Where(l => ranks[l] != config.Rank).Select(l => KeyValuePair.Create(l.Module.Path, config.Alpha * ranks[l] / config.Rank))]
            : config.AlphaPattern;
        redistributed.LayersToTransform = null;
        redistributed.LayersPattern = null;
        return redistributed;
    }
}
