using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.Graph.Export;

/// <summary>A weight that nothing is added to, dequantized from the form it had in training.</summary>
internal sealed class DequantizedTensor : ComputedTensor, IQuantizedSource
{
    private readonly QuantizedRows _rows;
    private readonly int _width;

    public DequantizedTensor(DataType elementType, QuantizedRows rows, ImmutableArray<long> dims)
        : base(elementType, dims)
    {
        _rows = rows;
        _width = checked((int)dims[1]);
    }

    public IQuantizedWeight Quantized => _rows.Quantized;

    protected override void Compute(long first, Span<float> values)
    {
        (long row, long column) = Math.DivRem(first, _width);
        if (column == 0 && values.Length % _width == 0)
        {
            _rows.Read(row, values);
            return;
        }

        float[] whole = new float[checked((int)((column + values.Length + _width - 1) / _width * _width))];
        _rows.Read(row, whole);
        whole.AsSpan((int)column, values.Length).CopyTo(values);
    }
}
