namespace OrtQLoRA.Graph.Quantization;

/// <summary>What quantization did to one layer.</summary>
/// <param name="ModulePath">The layer.</param>
/// <param name="Weight">Name of the original initializer.</param>
/// <param name="InFeatures">K.</param>
/// <param name="OutFeatures">N.</param>
/// <param name="OriginalBytes">Bytes of the original weight.</param>
/// <param name="QuantizedBytes">Bytes of the quantized weight with its scales.</param>
/// <param name="Error">Distance from the original.</param>
public sealed record QuantizedLayer(
    string ModulePath, string Weight, long InFeatures, long OutFeatures, long OriginalBytes, long QuantizedBytes, QuantizationError Error);
