namespace OrtQLoRA.CustomOps;

/// <summary>
/// Every operator of the native library, which registers the same ones: a new operator is a line here and one in the
/// library's <c>register.cc</c>, and a test compares the two.
/// </summary>
public static class OpCatalog
{
    /// <summary>Domain of all operators.</summary>
    public const string Domain = "ortqlora";

    /// <summary>Version of the domain.</summary>
    public const int Version = 1;

    /// <summary><c>y = x * What (+ bias)</c> over an int8 weight.</summary>
    public const string MatMulInt8 = "MatMulInt8";

    /// <summary><c>dx = dy * What^T</c>, the gradient of <see cref="MatMulInt8"/>.</summary>
    public const string MatMulInt8Grad = "MatMulInt8Grad";

    /// <summary><c>What = q * scale</c>, bit for bit what <see cref="MatMulInt8"/> multiplies by.</summary>
    public const string DequantizeInt8 = "DequantizeInt8";

    /// <summary>A linear layer over an int8 weight with its LoRA branch.</summary>
    public const string LoraLinear = "LoraLinear";

    /// <summary>Gradients of <see cref="LoraLinear"/>.</summary>
    public const string LoraLinearGrad = "LoraLinearGrad";

    /// <summary>All operators.</summary>
    public static IReadOnlyList<OpDescription> All { get; } =
    [
        new(MatMulInt8, ["x", "q", "scale", "bias?"], ["y"], "x [..., K] times the dequantized int8 weight [K, N], plus bias [N]"),
        new(MatMulInt8Grad, ["dy", "q", "scale"], ["dx"], "dy [..., N] times the transposed dequantized int8 weight"),
        new(DequantizeInt8, ["q", "scale"], ["What"], "the dequantized int8 weight [K, N]"),
        new(LoraLinear, ["x", "q", "scale", "A", "B", "bias?"], ["y", "h"], "x [..., K] times the dequantized int8 weight plus the low-rank branch h * B^T, h = scaling * x * A^T"),
        new(LoraLinearGrad, ["dy", "x", "h", "q", "scale", "A", "B"], ["dA", "dB", "dx?"], "gradients of LoraLinear by A, B and x"),
    ];
}
