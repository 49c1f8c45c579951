namespace OrtQLoRA.Graph.Linears;

/// <summary>In which form a site's weight lies in the model.</summary>
public enum WeightStorage
{
    /// <summary>Floating-point values, one an element.</summary>
    Dense,

    /// <summary>Integers behind a DequantizeLinear node.</summary>
    DequantizeLinear,

    /// <summary>Blocks of packed integers, read by com.microsoft MatMulNBits.</summary>
    MatMulNBits,

    /// <summary>Blocks of packed integers, read by com.microsoft GatherBlockQuantized.</summary>
    GatherBlockQuantized,

    /// <summary>Integers that are multiplied by quantized activations: MatMulInteger and its fused forms.</summary>
    IntegerProduct,

    /// <summary>Integers behind a Cast to floating point, from which a zero point may be taken, and a Mul by scales.</summary>
    CastAndScale,
}
