namespace OrtQLoRA.Graph.Quantization.Sensitivity;

/// <summary>What a weight format costs one linear layer.</summary>
/// <param name="ModulePath">The layer.</param>
/// <param name="InFeatures">K.</param>
/// <param name="OutFeatures">N.</param>
/// <param name="OriginalBytes">Bytes of the weight as the model has it.</param>
/// <param name="QuantizedBytes">Bytes in the format.</param>
/// <param name="Weight">Distance of the dequantized weight from the original.</param>
public sealed record LayerSensitivity(
    string ModulePath, long InFeatures, long OutFeatures, long OriginalBytes, long QuantizedBytes, QuantizationError Weight)
{
    /// <summary>
    /// <c>|X (W - What)^T| / |X W^T|</c> in the Frobenius norm over the inputs X that calibration data gave the layer; null without
    /// such inputs.
    /// </summary>
    public double? OutputError { get; init; }

    /// <summary>
    /// The squared relative error that the first, second, ... rank of an adapter on the layer can make up for at best: squared
    /// singular values of the error over the squared norm of what it is relative to. Of outputs where there are inputs, else of
    /// the weight.
    /// </summary>
    public IReadOnlyList<double> RankGains { get; init; } = [];

    /// <summary><see cref="OutputError"/> where it is known, else the weight's relative Frobenius error.</summary>
    public double Error => OutputError ?? Weight.RelativeFrobenius;

    /// <summary>Trained numbers that one more rank costs.</summary>
    public long ParametersOfRank => InFeatures + OutFeatures;
}
