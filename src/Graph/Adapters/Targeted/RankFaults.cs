namespace OrtQLoRA.Graph.Adapters.Targeted;

/// <summary>Faults of ranks and alphas.</summary>
internal static class RankFaults
{
    /// <summary>What is wrong, in words; empty if nothing is.</summary>
    public static IEnumerable<string> Of(int rank, double alpha, string alphaKey, IEnumerable<KeyValuePair<string, double>> pattern)
    {
        if (rank < 1)
        {
            yield return $"r is {rank}; 1 or more is expected.";
        }

        if (!double.IsFinite(alpha) || alpha == 0)
        {
            yield return $"{alphaKey} is {alpha}; a number other than 0 is expected.";
        }

        foreach ((string module, double value) in pattern)
        {
            if (value < 1 || value != Math.Truncate(value) || value > int.MaxValue)
            {
                yield return $"rank_pattern gives '{module}' the rank {value}; an integer of 1 or more is expected.";
            }
        }
    }
}
