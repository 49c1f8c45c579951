namespace OrtQLoRA.Graph.Quantization.Sensitivity;

/// <summary>Decides from measured layers what to quantize and with which ranks to adapt.</summary>
public static class QuantizationAdvisor
{
    /// <summary>Without a limit of the user's, a layer is left as it is above this many times the median error ...</summary>
    public const double OutlierFactor = 3;

    /// <summary>... and above this error; int8 costs well-behaved layers 0.5 to 1 %.</summary>
    public const double LeastLimit = 0.015;

    // Ranks of single layers are noise below this gain over one rank for all.
    private const double WorthwhileGain = 1.1;

    /// <summary>Gives advice.</summary>
    /// <param name="layers">The measured layers.</param>
    /// <param name="adapted">Whether a layer gets an adapter, by path.</param>
    /// <param name="rank">The rank that one would give all layers.</param>
    /// <param name="errorLimit">The error above which a layer is left as it is; null for outliers.</param>
    public static QuantizationAdvice Advise(IReadOnlyList<LayerSensitivity> layers, Func<string, bool> adapted, int rank, double? errorLimit)
    {
        ArgumentNullException.ThrowIfNull(layers);
        ArgumentNullException.ThrowIfNull(adapted);
        double limit = errorLimit ?? Math.Max(LeastLimit, OutlierFactor * Median([.. layers.Select(l => l.Error)]));
        string[] kept = [.. layers.Where(l => l.Error > limit || l.Weight.LostColumns > 0).Select(l => l.ModulePath)];
        LayerSensitivity[] quantized = [.. layers.Where(l => adapted(l.ModulePath) && !kept.Contains(l.ModulePath) && l.RankGains.Count > 0)];
        IReadOnlyDictionary<string, int> ranks = RankAllocation.Distribute(quantized, rank);
        double all = quantized.Sum(l => l.Error * l.Error);
        double one = RankAllocation.Recovered(quantized, _ => rank) / all;
        double several = RankAllocation.Recovered(quantized, l => ranks[l.ModulePath]) / all;
        bool isWorthwhile = several > one * WorthwhileGain;
        return new QuantizationAdvice(
            layers,
            limit,
            kept,
            rank,
            isWorthwhile ? ranks.Where(r => r.Value != rank).ToDictionary(r => r.Key, r => r.Value, StringComparer.Ordinal) : new Dictionary<string, int>(),
            one,
            isWorthwhile ? several : one);
    }

    private static double Median(double[] values)
    {
        Array.Sort(values);
        return values.Length == 0 ? 0 : (values[(values.Length - 1) / 2] + values[values.Length / 2]) / 2;
    }
}
