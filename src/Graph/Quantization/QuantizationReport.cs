namespace OrtQLoRA.Graph.Quantization;

/// <summary>What quantization did to a model; serializable as JSON.</summary>
/// <param name="Format">Name of the weight format.</param>
/// <param name="Layers">Every quantized layer, in graph order.</param>
public sealed record QuantizationReport(string Format, IReadOnlyList<QuantizedLayer> Layers)
{
    /// <summary>Bytes of the original weights.</summary>
    public long OriginalBytes => Layers.Sum(l => l.OriginalBytes);

    /// <summary>Bytes of the quantized weights with their scales.</summary>
    public long QuantizedBytes => Layers.Sum(l => l.QuantizedBytes);

    /// <summary>The layers with the largest relative Frobenius errors, worst first.</summary>
    public IEnumerable<QuantizedLayer> Worst(int count) => Layers.OrderByDescending(l => l.Error.RelativeFrobenius).Take(count);
}
