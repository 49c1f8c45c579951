using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// Rows of a weight as the quantized base had them in training: quantized again, which gives the same bits, and
/// dequantized. Only the weight read last is held.
/// </summary>
internal sealed class QuantizedRows : IMatrixRows
{
    private readonly LastUsed<IQuantizedWeight> _last;
    private readonly IWeightFormat _format;
    private readonly WeightMatrix _weight;

    public QuantizedRows(LastUsed<IQuantizedWeight> last, IWeightFormat format, WeightMatrix weight)
    {
        _last = last;
        _format = format;
        _weight = weight;
    }

    /// <summary>The quantized weight.</summary>
    public IQuantizedWeight Quantized => _last.Get(_weight, () => _format.Quantize(_weight));

    public void Read(long firstRow, Span<float> rows)
    {
        if (_weight.IsOutByIn)
        {
            Quantized.DequantizeColumns((int)firstRow, rows);
        }
        else
        {
            Quantized.DequantizeRows((int)firstRow, rows);
        }
    }
}
