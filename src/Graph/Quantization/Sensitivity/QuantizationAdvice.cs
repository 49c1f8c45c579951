namespace OrtQLoRA.Graph.Quantization.Sensitivity;

/// <summary>Which layers of a model to leave unquantized, and which ranks to give adapters on the others.</summary>
/// <param name="Layers">Every layer that was measured.</param>
/// <param name="ErrorLimit">The error above which a layer is to be left as it is.</param>
/// <param name="Kept">Paths of the layers to leave as they are.</param>
/// <param name="Rank">The rank of layers that <paramref name="Ranks"/> does not name.</param>
/// <param name="Ranks">Ranks of single layers, where those make up for clearly more error than one rank for all.</param>
/// <param name="RecoveredByOneRank">Share of the squared error that adapters of one rank can make up for at best; NaN if ranks were not looked at.</param>
/// <param name="RecoveredByRanks">The same with <paramref name="Ranks"/>.</param>
public sealed record QuantizationAdvice(
    IReadOnlyList<LayerSensitivity> Layers,
    double ErrorLimit,
    IReadOnlyList<string> Kept,
    int Rank,
    IReadOnlyDictionary<string, int> Ranks,
    double RecoveredByOneRank,
    double RecoveredByRanks)
{
    /// <summary>Bytes that the layers to leave as they are take more than quantized.</summary>
    public long BytesOfKept => Layers.Where(l => Kept.Contains(l.ModulePath)).Sum(l => l.OriginalBytes - l.QuantizedBytes);
}
