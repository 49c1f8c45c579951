using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Benchmarks;

/// <summary>
/// Products with an int8 weight and their gradient, beside what stock ONNX Runtime has for them: a float weight, DequantizeLinear in front of
/// the product, and MatMulNBits with 8 bits, which computes in float at accuracy level 0 and rounds activations to int8 at 4.
/// </summary>
internal static class ProductCases
{
    private const long Opset = 21;

    internal static IEnumerable<OperatorCase> Create(OperatorBenchmarkOptions options)
    {
        foreach ((int k, int n) in options.Shapes)
        {
            BenchmarkWeight weight = new(k, n);
            yield return Dequantization(weight);
            foreach (int rows in options.Rows)
            {
                yield return Forward(weight, rows, options.Computes);
                yield return Gradient(weight, rows, options.Computes);
            }
        }
    }

    private static OperatorCase Dequantization(BenchmarkWeight weight) => new(
        [OpCatalog.DequantizeInt8],
        $"q [{weight.K}, {weight.N}]",
        new Dictionary<string, DenseTensor>(),
        [
            new("DequantizeLinear", false, () => Model(0, b =>
                b.Op("DequantizeLinear", [Add(b, "q", weight.Quantized), Add(b, "scale", weight.Scale)], ("axis", 1)))),
            new(OpCatalog.DequantizeInt8, true, () => Model(0, b =>
                b.Emit(OpCatalog.DequantizeInt8, OpCatalog.Domain, [Add(b, "q", weight.Quantized), Add(b, "scale", weight.Scale)], 1, ("K", weight.K), ("N", weight.N)).Outputs[0])),
        ]);

    private static OperatorCase Forward(BenchmarkWeight weight, int rows, IReadOnlyList<Int8Compute> computes) => new(
        [OpCatalog.MatMulInt8],
        $"x [{rows}, {weight.K}] W [{weight.K}, {weight.N}]",
        Feed(rows, weight.K),
        [
            new("MatMul", false, () => Model(weight.K, b => b.MatMul(Rows(b), Add(b, "w", weight.Floats)))) { Peak = "fp32" },
            new("DequantizeLinear, Gemm", false, () => Model(weight.K, b => b.Op("Gemm", [Rows(b), Dequantized(b, weight)], ("transB", 1)))) { Peak = "fp32" },
            new("MatMulNBits, level 0", false, () => Model(weight.K, b => NBits(b, weight, 0))) { Peak = "fp32" },
            new("MatMulNBits, level 4", false, () => Model(weight.K, b => NBits(b, weight, 4))) { Peak = "int8" },
            .. computes.Select(c => Native(OpCatalog.MatMulInt8, weight, weight.K, c)),
        ],
        2.0 * rows * weight.K * weight.N);

    // MatMulNBits cannot: its scales would lie along the sum.
    private static OperatorCase Gradient(BenchmarkWeight weight, int rows, IReadOnlyList<Int8Compute> computes) => new(
        [OpCatalog.MatMulInt8Grad],
        $"dy [{rows}, {weight.N}] W^T [{weight.N}, {weight.K}]",
        Feed(rows, weight.N),
        [
            new("MatMul", false, () => Model(weight.N, b => b.MatMul(Rows(b), Add(b, "w", weight.TransposedFloats)))) { Peak = "fp32" },
            new("DequantizeLinear, MatMul", false, () => Model(weight.N, b => b.MatMul(Rows(b), Dequantized(b, weight)))) { Peak = "fp32" },
            .. computes.Select(c => Native(OpCatalog.MatMulInt8Grad, weight, weight.N, c)),
        ],
        2.0 * rows * weight.K * weight.N);

    private static Dictionary<string, DenseTensor> Feed(int rows, int width) => new() { ["x"] = BenchmarkNumbers.Floats(1, rows, width) };

    // As the portable training graphs have it: the bytes transposed, so that a whole row shares a scale.
    private static Value Dequantized(GraphBuilder b, BenchmarkWeight weight) =>
        b.Op("DequantizeLinear", [Add(b, "q", weight.Transposed), Add(b, "scale", weight.Scale)], ("axis", 0));

    private static Value NBits(GraphBuilder b, BenchmarkWeight weight, int level) => b.Emit(
        "MatMulNBits",
        "com.microsoft",
        [Rows(b), Add(b, "q", weight.Blocks), Add(b, "scale", weight.BlockScales)],
        1,
        ("K", weight.K),
        ("N", weight.N),
        ("bits", 8),
        ("block_size", BenchmarkWeight.BlockSize),
        ("accuracy_level", level)).Outputs[0];

    private static OperatorContender Native(string op, BenchmarkWeight weight, int width, Int8Compute compute)
    {
        string mode = OptionText.Name(compute);
        Node Emit(GraphBuilder b) => b.Emit(
            op, OpCatalog.Domain, [Rows(b), Add(b, "q", weight.Quantized), Add(b, "scale", weight.Scale)], 1, ("K", weight.K), ("N", weight.N), ("compute", mode));
        return new OperatorContender($"{op}, {mode}", true, () => Model(width, b => Emit(b).Outputs[0])) { Peak = mode };
    }

    private static OnnxModel Model(int width, Func<GraphBuilder, Value> emit)
    {
        OnnxGraph graph = new("product");
        if (width > 0)
        {
            graph.AddInput("x", DataType.Float, new Shape(Dimension.Of("rows"), width));
        }

        Value y = emit(new GraphBuilder(graph, Opset));
        y.Name = "y";
        y.Type ??= new OnnxType.Tensor(DataType.Float, null);
        graph.AddOutput(y);
        OnnxModel model = new(graph) { Opset = Opset, IrVersion = 10 };
        model.OpsetImports["com.microsoft"] = 1;
        model.OpsetImports[OpCatalog.Domain] = OpCatalog.Version;
        return model;
    }

    private static Value Rows(GraphBuilder b) => b.Graph.GetValue("x");

    private static Value Add(GraphBuilder b, string name, DenseTensor content) => b.Graph.AddInitializer(name, content);
}
