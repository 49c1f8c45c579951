using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// Rows of a weight as the quantized base had them in training: quantized again, which gives the same bits, and
/// dequantized. Only the weight read last is held.
/// </summary>
internal sealed class QuantizedRows : IMatrixRows
{
    private readonly Slot _slot;
    private readonly WeightMatrix _weight;

    public QuantizedRows(Slot slot, WeightMatrix weight)
    {
        _slot = slot;
        _weight = weight;
    }

    public void Read(long firstRow, Span<float> rows)
    {
        IQuantizedWeight quantized = _slot.Get(_weight);
        if (_weight.IsOutByIn)
        {
            quantized.DequantizeColumns((int)firstRow, rows);
        }
        else
        {
            quantized.DequantizeRows((int)firstRow, rows);
        }
    }

    /// <summary>Holds the quantized weight read last.</summary>
    internal sealed class Slot
    {
        private readonly IWeightFormat _format;
        private readonly Lock _lock = new();
        private WeightMatrix? _weight;
        private IQuantizedWeight? _quantized;

        public Slot(IWeightFormat format)
        {
            _format = format;
        }

        public IQuantizedWeight Get(WeightMatrix weight)
        {
            lock (_lock)
            {
                if (_quantized is null || _weight != weight)
                {
                    _quantized = null;
                    _quantized = _format.Quantize(weight);
                    _weight = weight;
                }

                return _quantized;
            }
        }
    }
}
