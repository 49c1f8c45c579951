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

    /// <summary>RMS normalization over the last axis.</summary>
    public const string RmsNorm = "RmsNorm";

    /// <summary>Gradients of <see cref="RmsNorm"/>.</summary>
    public const string RmsNormGrad = "RmsNormGrad";

    /// <summary>Layer normalization over the last axis.</summary>
    public const string LayerNorm = "LayerNorm";

    /// <summary>Gradients of <see cref="LayerNorm"/>.</summary>
    public const string LayerNormGrad = "LayerNormGrad";

    /// <summary><c>gate * sigmoid(gate) * up</c>.</summary>
    public const string SwiGlu = "SwiGlu";

    /// <summary>Gradients of <see cref="SwiGlu"/>.</summary>
    public const string SwiGluGrad = "SwiGluGrad";

    /// <summary>GELU, exact or approximated by tanh.</summary>
    public const string Gelu = "Gelu";

    /// <summary>Gradient of <see cref="Gelu"/>.</summary>
    public const string GeluGrad = "GeluGrad";

    /// <summary>Rotary position embedding in the half-split form.</summary>
    public const string Rotary = "Rotary";

    /// <summary>Gradient of <see cref="Rotary"/>.</summary>
    public const string RotaryGrad = "RotaryGrad";

    /// <summary>Attention over heads that never stores the matrix of scores.</summary>
    public const string Attention = "Attention";

    /// <summary>Gradients of <see cref="Attention"/>.</summary>
    public const string AttentionGrad = "AttentionGrad";

    /// <summary>Loss of an output head that never holds its logits.</summary>
    public const string LinearCrossEntropy = "LinearCrossEntropy";

    /// <summary>One step of AdamW over all parameters of a flat array.</summary>
    public const string AdamW = "AdamW";

    /// <summary>Sum of squares in float64.</summary>
    public const string SquaredNorm = "SquaredNorm";

    /// <summary>All operators.</summary>
    public static IReadOnlyList<OpDescription> All { get; } =
    [
        new(MatMulInt8, ["x", "q", "scale", "bias?"], ["y"], "x [..., K] times the dequantized int8 weight [K, N], plus bias [N]"),
        new(MatMulInt8Grad, ["dy", "q", "scale"], ["dx"], "dy [..., N] times the transposed dequantized int8 weight"),
        new(DequantizeInt8, ["q", "scale"], ["What"], "the dequantized int8 weight [K, N]"),
        new(LoraLinear, ["x", "q", "scale", "A", "B", "bias?", "addend?"], ["y", "h"], "x [..., K] times the dequantized int8 weight plus the low-rank branch h * B^T, h = scaling * x * A^T, plus an addend of y"),
        new(LoraLinearGrad, ["dy", "x", "h", "q", "scale", "A", "B", "dx_addend?", "dA_addend?", "dB_addend?"], ["dA", "dB", "dx?"], "gradients of LoraLinear by A, B and x, each plus an addend"),
        new(RmsNorm, ["x", "weight"], ["y", "inv"], "x / sqrt(mean(x^2) + epsilon) * weight over the last axis"),
        new(RmsNormGrad, ["dy", "x", "weight", "inv", "addend?"], ["dx", "dweight?"], "gradients of RmsNorm; dx plus an addend"),
        new(LayerNorm, ["x", "weight", "bias?"], ["y", "mean", "inv"], "(x - mean) / sqrt(variance + epsilon) * weight + bias over the last axis"),
        new(LayerNormGrad, ["dy", "x", "weight", "mean", "inv", "addend?"], ["dx", "dweight?", "dbias?"], "gradients of LayerNorm; dx plus an addend"),
        new(SwiGlu, ["gate", "up"], ["y"], "gate * sigmoid(gate) * up"),
        new(SwiGluGrad, ["dy", "gate", "up"], ["dgate", "dup"], "gradients of SwiGlu"),
        new(Gelu, ["x"], ["y"], "x times the normal distribution of x, or its approximation by tanh"),
        new(GeluGrad, ["dy", "x"], ["dx"], "gradient of Gelu"),
        new(Rotary, ["x", "cos", "sin"], ["y"], "rotary position embedding of heads [B, H, S, D] or [B, S, H, D]"),
        new(RotaryGrad, ["dy", "cos", "sin"], ["dx"], "gradient of Rotary"),
        new(Attention, ["q", "k", "v", "mask?"], ["y", "lse"], "softmax(scale * q * k^T + mask) * v over heads, keys and values perhaps shared by several"),
        new(AttentionGrad, ["dy", "q", "k", "v", "y", "lse", "mask?"], ["dq", "dk", "dv"], "gradients of Attention"),
        new(LinearCrossEntropy, ["x", "weight", "labels", "bias?"], ["loss", "dx?"], "mean cross-entropy of x * weight + bias against labels, and its gradient by x"),
        new(AdamW, ["p", "g", "m", "v", "rate", "step", "factor?"], ["new_p", "new_m", "new_v"], "one step of AdamW over flat arrays, gradients g * factor"),
        new(SquaredNorm, ["x"], ["y"], "sum of x^2 in float64"),
    ];
}
