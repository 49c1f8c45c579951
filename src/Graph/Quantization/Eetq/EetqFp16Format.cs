namespace OrtQLoRA.Graph.Quantization.Eetq;

/// <summary>
/// EETQ int8 whose dequantized weights are <c>fp16(q * scale)</c> even where the model computes in fp32: what EETQ's own
/// kernels multiply by, and so what PEFT trains on. Bytes and scales are those of <see cref="EetqInt8Format"/>.
/// </summary>
/// <remarks>
/// The rounding moves a weight by up to 2^-11 of itself, far less than int8 did, but it shows where a run is compared with one
/// of PEFT's number by number. The native int8 products do not round, so that graphs with this format run on standard operators.
/// </remarks>
public sealed class EetqFp16Format : IWeightFormat
{
    /// <inheritdoc/>
    public string Name => "eetq-fp16";

    /// <inheritdoc/>
    public IQuantizedWeight Quantize(WeightMatrix weight) => EetqInt8Format.QuantizeToPlain(weight).RoundedToHalf();
}
