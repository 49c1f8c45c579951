using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Quantization;

/// <summary>
/// Content of an initializer that is the dequantized form of a weight known in its quantized form: quantizing it again in the
/// same format gives that form back, bit for bit, rather than one that is computed from rounded values.
/// </summary>
internal interface IQuantizedSource : ITensor
{
    /// <summary>The weight that these values were dequantized from.</summary>
    IQuantizedWeight Quantized { get; }
}
