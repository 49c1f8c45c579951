namespace OrtQLoRA.Graph.Rewriting;

/// <summary>
/// How the native operators multiply by int8 weights: attribute <c>compute</c> of <c>MatMulInt8</c> and its gradient. The
/// weight itself is exact in every mode; what differs is the rounding of the other operand, row by row.
/// </summary>
public enum Int8Compute
{
    /// <summary>The fastest mode of the machine whose error stays below bf16's.</summary>
    Auto,

    /// <summary>Products and sums in fp32.</summary>
    Fp32,

    /// <summary>Rows rounded to bf16, sums in fp32.</summary>
    Bf16,

    /// <summary>Rows rounded to 13 bits and sign with one scale each, exact integer sums.</summary>
    Int16,

    /// <summary>Rows rounded to 7 bits and sign with one scale each, exact integer sums.</summary>
    Int8,
}
