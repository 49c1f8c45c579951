using System.Runtime.InteropServices;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;

namespace OrtQLoRA.Graph.Checkpoints;

/// <summary>
/// A linear layer's weight out of a checkpoint that EETQ quantized, dequantized into the orientation and type of the model's
/// initializer. Quantizing it to EETQ's format again gives the checkpoint's own bytes.
/// </summary>
internal sealed class EetqCheckpointTensor : ComputedTensor, IQuantizedSource
{
    private readonly ITensor _packed;
    private readonly Half[] _scales;
    private readonly bool _isOutByIn;
    private readonly int _width;
    private readonly LastUsed<byte[]> _last;

    /// <param name="packed">int8 [in, out] in EETQ's processed layout; in and out are multiples of 64.</param>
    /// <param name="scales">fp16 [out].</param>
    /// <param name="like">The initializer's present content, [in, out] or [out, in].</param>
    /// <param name="isOutByIn">Whether it is [out, in].</param>
    /// <param name="last">Holds the plain bytes of the weight read last.</param>
    public EetqCheckpointTensor(ITensor packed, Half[] scales, ITensor like, bool isOutByIn, LastUsed<byte[]> last)
        : base(like.ElementType, like.Dims)
    {
        _packed = packed;
        _scales = scales;
        _isOutByIn = isOutByIn;
        _width = checked((int)like.Dims[1]);
        _last = last;
    }

    /// <inheritdoc/>
    public IQuantizedWeight Quantized =>
        new EetqWeight(() => _last.Get(this, Unpack), _scales, checked((int)_packed.Dims[0]), new QuantizationError(0, 0, 0, 0), isStreamed: true);

    protected override void Compute(long first, Span<float> values)
    {
        (long row, long column) = Math.DivRem(first, _width);
        float[] whole = new float[checked((int)((column + values.Length + _width - 1) / _width * _width))];
        if (_isOutByIn)
        {
            Quantized.DequantizeColumns((int)row, whole);
        }
        else
        {
            Quantized.DequantizeRows((int)row, whole);
        }

        whole.AsSpan((int)column, values.Length).CopyTo(values);
    }

    private byte[] Unpack()
    {
        byte[] plain = new byte[checked((int)_packed.ByteLength)];
        EetqLayout.Unpack(_packed.ToBytes(), (int)_packed.Dims[0], (int)_packed.Dims[1], MemoryMarshal.Cast<byte, sbyte>(plain.AsSpan()));
        return plain;
    }
}
