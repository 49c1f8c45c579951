namespace OrtQLoRA.Graph.Tests.Inference;

/// <summary>The table of rule cases; see <see cref="RuleCase"/> for the notation.</summary>
internal static partial class InferenceRuleData
{
    internal sealed record Case(string Operation, string Inputs, string Attributes, string Outputs, long Opset = 21, bool Runs = true);

    internal static IEnumerable<Case> All => [.. Elementwise, .. Conversions, .. Reductions, .. Matrices, .. Reshapes, .. Layouts, .. Indexing, .. Creations, .. Windows, .. Layers];

    private static IEnumerable<Case> Elementwise =>
    [
        .. new[]
        {
            "Abs", "Neg", "Sqrt", "Reciprocal", "Exp", "Log", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh",
            "Atanh", "Erf", "Tanh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "HardSwish", "Gelu", "Softplus",
            "Softsign", "Mish", "ThresholdedRelu", "Shrink", "Clip", "Identity", "Floor", "Ceil", "Round", "Sign", "LpNormalization", "Softmax", "LogSoftmax", "Hardmax",
        }.Select(op => new Case(op, "float[batch, 3]", "", "float[batch, 3]")),
        new("Swish", "float[batch, 3]", "", "float[batch, 3]", 24, Runs: false),
        new("BitwiseNot", "int32[batch, 3]", "", "int32[batch, 3]"),
        new("CumSum", "float[batch, 3]; int64(1)", "", "float[batch, 3]"),
        new("DFT", "float[batch, 6, 1]", "", "float[batch, 6, 2]"),
        new("DFT", "float[batch, sequence, 5, 2]; int64(8); int64(1)", "", "float[batch, 8, 5, 2]"),
        new("DFT", "float[batch, 7, 1]", "onesided=1", "float[batch, 4, 2]"),
        new("DFT", "float[batch, 6, 2]", "axis=1; inverse=1", "float[batch, 6, 2]", 17),
        new("CumProd", "float[batch, 3]; int64(1)", "", "float[batch, 3]", 26, Runs: false),
        new("Trilu", "float[batch, n, n]", "upper=0", "float[batch, n, n]"),
        new("ReverseSequence", "float[5, 2]; int64{3, 4}", "", "float[5, 2]"),
        new("IsNaN", "float[batch, 3]", "", "bool[batch, 3]"),
        new("IsInf", "float[batch, 3]", "", "bool[batch, 3]"),
        new("Not", "bool[batch]", "", "bool[batch]"),
        .. new[] { "Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow" }.SelectMany(op => new Case[]
        {
            new(op, "float[batch, 1, 3]; float[sequence, 1]", "", "float[batch, sequence, 3]"),
            new(op, "float[batch, sequence]; float[sequence]", "", "float[batch, sequence]"),
        }),
        new("Add", "float[batch, 7]; float[n, 1]", "", "float[broadcast(batch, n), 7]", Runs: false),
        new("Add", "float[n, 3]; float[3, 3]", "", "float[3, 3]", Runs: false),
        new("Add", "float[n, 3]; float[0, 1]", "", "float[0, 3]", Runs: false),
        new("Add", "float[?, 3]; float[3]", "", "float[x0#0, 3]", Runs: false),
        new("Add", "float[...]; float[3]", "", "float[...]", Runs: false),
        new("Max", "float[batch, 1]; float[3]; float[]", "", "float[batch, 3]"),
        new("Mod", "int64[n]; int64{3, 3, 3, 3}", "", "int64[4]"),
        new("Pow", "float[n]; int64(2)", "", "float[n]"),
        new("BitShift", "uint8[n]; uint8(1)", "direction=LEFT", "uint8[n]"),
        .. new[] { "BitwiseAnd", "BitwiseOr", "BitwiseXor" }.Select(op => new Case(op, "int32[n, 1]; int32[3]", "", "int32[n, 3]")),
        new("PRelu", "float[batch, n, 3]; float[3]", "", "float[batch, n, 3]"),
        .. new[] { "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual" }.Select(op => new Case(op, "float[n, 1]; float[3]", "", "bool[n, 3]")),
        .. new[] { "And", "Or", "Xor" }.Select(op => new Case(op, "bool[n, 1]; bool[3]", "", "bool[n, 3]")),
        new("Where", "bool[n, 1]; float[3]; float[]", "", "float[n, 3]"),
        new("Dropout", "float[batch, 3]", "", "float[batch, 3]; bool[batch, 3]"),
    ];

    private static IEnumerable<Case> Conversions =>
    [
        new("Cast", "float[batch, 3]", "to=float16", "float16[batch, 3]"),
        new("CastLike", "float[batch, 3]; int64[1]", "", "int64[batch, 3]"),
        new("QuantizeLinear", "float[batch, 3]; float(0.5); uint8(0)", "", "uint8[batch, 3]"),
        new("QuantizeLinear", "float[batch, 3]; float(0.5)", "", "uint8[batch, 3]"),
        new("QuantizeLinear", "float[batch, 3]; float(0.5)", "output_dtype=int8", "int8[batch, 3]"),
        new("DequantizeLinear", "uint8[batch, 3]; float(0.5); uint8(0)", "", "float[batch, 3]"),
        new("DynamicQuantizeLinear", "float[batch, 3]", "", "uint8[batch, 3]; float[]; uint8[]"),
        new("com.microsoft::QuantizeLinear", "float[batch, 3]; float(0.5); uint8(0)", "", "uint8[batch, 3]"),
        new("com.microsoft::DequantizeLinear", "uint8[batch, 3]; float(0.5); uint8(0)", "", "float[batch, 3]"),
    ];

    private static IEnumerable<Case> Reductions =>
    [
        .. new[] { "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare" }
            .SelectMany(op => new Case[]
            {
                new(op, "float[batch, sequence, 3]; int64{-1}", "", "float[batch, sequence, 1]"),
                new(op, "float[batch, sequence, 3]; int64{0, -1}", "keepdims=0", "float[sequence]"),
                new(op, "float[batch, 3]", "", "float[1, 1]"),
                new(op, "float[batch, 3]", "keepdims=0", "float[]"),
                new(op, "float[batch, 3]", "axes=[1]", "float[batch, 1]", 11),
            }),
        new("ReduceSum", "float[batch, 3]", "noop_with_empty_axes=1", "float[batch, 3]"),
        new("ReduceSum", "float[batch, 3]; int64[1]", "", "float[y0#0, y0#1]"),
        new("ReduceSum", "float[batch, 3]; int64[1]", "keepdims=0", "float[y0#0]"),
        new("ReduceSum", "float[batch, 3]; int64[n]", "keepdims=0", "float[...]", Runs: false),
        new("ArgMax", "float[batch, 3]", "axis=-1", "int64[batch, 1]"),
        new("ArgMin", "float[batch, 3]", "keepdims=0", "int64[3]"),
    ];

    private static IEnumerable<Case> Matrices =>
    [
        new("MatMul", "float[batch, 1, sequence, 3]; float[n, 3, 7]", "", "float[batch, n, sequence, 7]"),
        new("MatMul", "float[3]; float[batch, 3, 7]", "", "float[batch, 7]"),
        new("MatMul", "float[batch, n, 3]; float[3]", "", "float[batch, n]"),
        new("MatMul", "float[3]; float[3]", "", "float[]"),
        new("MatMulInteger", "uint8[batch, 3]; uint8[3, n]", "", "int32[batch, n]"),
        new("QLinearMatMul", "uint8[batch, 3]; float(1); uint8(0); uint8[3, n]; float(1); uint8(0); float(1); uint8(0)", "", "uint8[batch, n]"),
        new("Gemm", "float[batch, 3]; float[3, n]; float[n]", "", "float[batch, n]"),
        new("Gemm", "float[3, batch]; float[n, 3]", "transA=1; transB=1", "float[batch, n]"),
        new("Einsum", "float[batch, n, 3]; float[batch, 3, m]", "equation=bij, bjk -> bik", "float[batch, n, m]"),
        new("Einsum", "float[batch, n, 3]; float[3, m]", "equation=...ij,jk->...ik", "float[batch, n, m]"),
        new("Einsum", "float[n, n]", "equation=ii", "float[]"),
        new("Einsum", "float[n, m]", "equation=ji", "float[m, n]"),
        new("com.microsoft::FusedMatMul", "float[batch, 3, n]; float[m, 3]", "transA=1; transB=1", "float[batch, n, m]"),
        new("com.microsoft::FusedMatMul", "float[n, batch, 3]; float[batch, 3, m]", "transBatchA=1", "float[batch, n, m]"),
        new("com.microsoft::MatMulNBits", "float[batch, sequence, 32]; uint8[7, 1, 16]; float[7]", "K=32; N=7; bits=4; block_size=32", "float[batch, sequence, 7]"),
        new("com.microsoft::MatMulBnb4", "float[batch, 32]; uint8[112]; float[14]", "K=32; N=7; block_size=16; quant_type=0", "float[batch, 7]"),
        new("com.microsoft::DynamicQuantizeMatMul", "float[batch, 3]; uint8[3, n]; float(1); uint8(0)", "", "float[batch, n]"),
        new("com.microsoft::MatMulIntegerToFloat", "uint8[batch, 3]; uint8[3, n]; float(1); float(1); uint8(0); uint8(0)", "", "float[batch, n]"),
        new("com.microsoft::FusedGemm", "float[batch, 3]; float[3, n]; float[n]", "activation=Relu", "float[batch, n]"),
        new("ortqlora::MatMulInt8", "float[batch, sequence, 16]; int8[16, 48]; float[48]", "K=16; N=48", "float[batch, sequence, 48]", Runs: false),
        new("ortqlora::MatMulInt8Grad", "float16[batch, sequence, 48]; int8[16, 48]; float16[48]", "K=16; N=48", "float16[batch, sequence, 16]", Runs: false),
        new("ortqlora::DequantizeInt8", "int8[16, 48]; float[48]", "K=16; N=48", "float[16, 48]", Runs: false),
        new("ortqlora::LoraLinear", "float[batch, sequence, 16]; int8[16, 48]; float[48]; float[4, 16]; float[48, 4]", "K=16; N=48", "float[batch, sequence, 48]; float[batch, sequence, 4]", Runs: false),
        new("ortqlora::LoraLinearGrad", "bfloat16[batch, sequence, 48]; bfloat16[batch, sequence, 16]; bfloat16[batch, sequence, 4]; int8[16, 48]; float[48]; float[4, 16]; float[48, 4]", "K=16; N=48", "float[4, 16]; float[48, 4]; bfloat16[batch, sequence, 16]", Runs: false),
        new("ortqlora::RmsNorm", "bfloat16[batch, sequence, 16]; float[16]", "", "bfloat16[batch, sequence, 16]; float[batch, sequence, 1]", Runs: false),
        new("ortqlora::RmsNormGrad", "bfloat16[batch, sequence, 16]; bfloat16[batch, sequence, 16]; float[16]; float[batch, sequence, 1]", "", "bfloat16[batch, sequence, 16]; float[16]", Runs: false),
        new("ortqlora::LayerNorm", "float[batch, sequence, 16]; float[16]; float[16]", "", "float[batch, sequence, 16]; float[batch, sequence, 1]; float[batch, sequence, 1]", Runs: false),
        new("ortqlora::LayerNormGrad", "float[batch, sequence, 16]; float[batch, sequence, 16]; float[16]; float[batch, sequence, 1]; float[batch, sequence, 1]", "", "float[batch, sequence, 16]; float[16]; float[16]", Runs: false),
        new("ortqlora::SwiGlu", "float16[batch, sequence, 16]; float16[batch, sequence, 16]", "", "float16[batch, sequence, 16]", Runs: false),
        new("ortqlora::SwiGluGrad", "float[batch, sequence, 16]; float[batch, sequence, 16]; float[batch, sequence, 16]", "", "float[batch, sequence, 16]; float[batch, sequence, 16]", Runs: false),
        new("ortqlora::Gelu", "float[batch, sequence, 16]", "", "float[batch, sequence, 16]", Runs: false),
        new("ortqlora::GeluGrad", "float[batch, sequence, 16]; float[batch, sequence, 16]", "", "float[batch, sequence, 16]", Runs: false),
        new("ortqlora::Rotary", "float[batch, 2, sequence, 8]; float[sequence, 8]; float[sequence, 8]", "", "float[batch, 2, sequence, 8]", Runs: false),
        new("ortqlora::RotaryGrad", "float[batch, 2, sequence, 8]; float[sequence, 8]; float[sequence, 8]", "", "float[batch, 2, sequence, 8]", Runs: false),
        new("ortqlora::Attention", "float[batch, 4, sequence, 8]; float[batch, 2, sequence, 8]; float[batch, 2, sequence, 6]", "scale=0.5", "float[batch, 4, sequence, 6]; float[batch, 4, sequence]", Runs: false),
        new("ortqlora::AttentionGrad", "float[batch, 4, sequence, 6]; float[batch, 4, sequence, 8]; float[batch, 2, sequence, 8]; float[batch, 2, sequence, 6]; float[batch, 4, sequence, 6]; float[batch, 4, sequence]", "scale=0.5", "float[batch, 4, sequence, 8]; float[batch, 2, sequence, 8]; float[batch, 2, sequence, 6]", Runs: false),
        new("ortqlora::LinearCrossEntropy", "float[batch, sequence, 16]; float[16, 32]; int64[batch, sequence]", "", "float[]; float[batch, sequence, 16]", Runs: false),
        new("ortqlora::AdamW", "float[96]; float[96]; float[96]; float[96]; float[]; int64[]", "", "float[96]; float[96]; float[96]", Runs: false),
        new("ortqlora::SquaredNorm", "float[batch, 16]", "", "double[]", Runs: false),
    ];
}
