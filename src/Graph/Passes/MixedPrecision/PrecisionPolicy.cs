using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.MixedPrecision;

/// <summary>Which operators compute in half precision (fp16, bf16), and which stay in fp32.</summary>
/// <remarks>
/// Matrix products gain speed and lose little, as their sums are kept in fp32 inside. Operators that move or combine values
/// elementwise follow what they are given. Everything else (exponentials, norms, means, trigonometry, losses) stays in
/// fp32, also because ONNX Runtime's CUDA provider has no bf16 kernels for much of it: Pad, Pow's kin, Reciprocal, ReduceMean,
/// ReduceMax, CumSum, Log, LogSoftmax, Einsum, Cos, Sin, Equal (docs/OperatorKernels.md there).
/// </remarks>
internal static class PrecisionPolicy
{
    private static readonly HashSet<string> MatrixProducts = ["MatMul", "Gemm", "Conv", "ConvTranspose"];

    private static readonly HashSet<string> Followers =
    [
        "Add", "Sub", "Mul", "Div", "Sum", "Neg", "Max", "Min", "Where", "Sigmoid", "Tanh", "Relu", "Dropout", "Identity", "Reshape", "Flatten", "Squeeze",
        "Unsqueeze", "Transpose", "Concat", "Slice", "Split", "Expand", "Tile", "Trilu", "GatherElements",
    ];

    /// <summary>Operators that gradients add, with half-precision kernels on the CUDA provider.</summary>
    private static readonly HashSet<string> OthersWithKernels = ["Gather", "ScatterElements", "ScatterND", "ReduceSum", "Cast", "CastLike", "Shape", "Size", "Sign"];

    /// <summary>Which inputs of the native operators are activations, or a weight that a product takes in the activations' type; their first output is of the same type, as is LoraLinear's h.</summary>
    private static readonly Dictionary<string, int> NativeActivations = new(StringComparer.Ordinal)
    {
        ["MatMulInt8"] = 1,
        ["LoraLinear"] = 1,
        ["RmsNorm"] = 1,
        ["LayerNorm"] = 1,
        ["SwiGlu"] = 2,
        ["Gelu"] = 1,
        ["Rotary"] = 1,
        ["Attention"] = 3,
        ["LinearCrossEntropy"] = 2,
    };

    /// <summary>
    /// How many of a native operator's first inputs may be given in half precision; 0 for other operators. The loss gives its
    /// gradient along with itself, before the loss is scaled: in fp16 it would vanish.
    /// </summary>
    internal static int ActivationCount(Node node, DataType half) =>
        node.Domain != OperatorDomains.OrtQLoRA || (half == DataType.Float16 && node.OpType == "LinearCrossEntropy") ? 0
        : NativeActivations.GetValueOrDefault(node.OpType);

    /// <summary>Outputs of a native operator that have the type of its activations.</summary>
    internal static IEnumerable<Value> ActivationOutputs(Node node) => node.OpType switch
    {
        "LinearCrossEntropy" => node.Outputs.Skip(1),
        "LoraLinear" => node.Outputs,
        _ => node.Outputs.Take(1),
    };

    /// <summary>Whether the operator always computes in half precision.</summary>
    internal static bool IsMatrixProduct(Node node) => node.Domain.Length == 0 && MatrixProducts.Contains(node.OpType);

    /// <summary>Whether the operator computes in the precision of what it is given.</summary>
    internal static bool Follows(Node node) => node.Domain.Length == 0 && Followers.Contains(node.OpType);

    /// <summary>Whether half-precision tensors may be given to the operator.</summary>
    internal static bool HasHalfKernel(Node node) =>
        node.Domain == OperatorDomains.OrtQLoRA || IsMatrixProduct(node) || Follows(node) || (node.Domain.Length == 0 && OthersWithKernels.Contains(node.OpType));
}
