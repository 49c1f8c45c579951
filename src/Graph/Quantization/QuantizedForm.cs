namespace OrtQLoRA.Graph.Quantization;

/// <summary>By which operators a model reads its int8 weights.</summary>
public enum QuantizedForm
{
    /// <summary><c>DequantizeLinear</c> in front of the product: runs on every ONNX runtime.</summary>
    Qdq,

    /// <summary><c>com.microsoft MatMulNBits</c> with 8 bits, of ONNX Runtime: no dequantized weight is ever made.</summary>
    MatMulNBits,

    /// <summary><c>ortqlora MatMulInt8</c>, of this project's native library.</summary>
    MatMulInt8,
}
