namespace OrtQLoRA.Graph.Quantization.Sensitivity;

/// <summary>
/// Distributes ranks over layers so that adapters can make up for the most error with as many trained numbers as one rank
/// for all would take: greedily, by the gain of each further rank over its cost. Gains of a layer fall with the rank, so that greedy is
/// optimal up to the last rank bought.
/// </summary>
internal static class RankAllocation
{
    /// <summary>Ranks by module path.</summary>
    /// <param name="layers">The layers.</param>
    /// <param name="rank">The rank that all would have; single layers get half to twice as much.</param>
    public static IReadOnlyDictionary<string, int> Distribute(IReadOnlyList<LayerSensitivity> layers, int rank)
    {
        Dictionary<string, int> ranks = layers.ToDictionary(l => l.ModulePath, l => Math.Min(Math.Max(1, rank / 2), Largest(l, rank)), StringComparer.Ordinal);
        long budget = layers.Sum(l => (Math.Min(rank, Largest(l, rank)) - ranks[l.ModulePath]) * l.ParametersOfRank);
        PriorityQueue<LayerSensitivity, double> next = new();
        foreach (LayerSensitivity layer in layers)
        {
            Offer(layer);
        }

        while (next.TryDequeue(out LayerSensitivity? layer, out _))
        {
            if (layer.ParametersOfRank <= budget)
            {
                ranks[layer.ModulePath]++;
                budget -= layer.ParametersOfRank;
                Offer(layer);
            }
        }

        return ranks;

        // A layer that is not worth a rank more, or cannot have one, is not offered again.
        void Offer(LayerSensitivity layer)
        {
            int present = ranks[layer.ModulePath];
            if (present < Largest(layer, rank) && present < layer.RankGains.Count)
            {
                next.Enqueue(layer, -layer.RankGains[present] / layer.ParametersOfRank);
            }
        }
    }

    /// <summary>The squared relative errors that given ranks make up for, summed over layers.</summary>
    public static double Recovered(IReadOnlyList<LayerSensitivity> layers, Func<LayerSensitivity, int> rankOf) =>
        layers.Sum(l => l.RankGains.Take(rankOf(l)).Sum());

    private static int Largest(LayerSensitivity layer, int rank) => (int)Math.Min(2L * rank, Math.Min(layer.InFeatures, layer.OutFeatures));
}
