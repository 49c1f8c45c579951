namespace OrtQLoRA.Graph.Linears;

/// <summary>How a weight is applied.</summary>
public enum LinearKind
{
    /// <summary>A product <c>x W</c> or <c>x W^T</c>, by MatMul or Gemm.</summary>
    Linear,

    /// <summary>A lookup of rows: Gather along axis 0.</summary>
    Embedding,

    /// <summary>A convolution.</summary>
    Convolution,
}
