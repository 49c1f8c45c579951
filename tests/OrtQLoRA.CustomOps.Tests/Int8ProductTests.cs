using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Graph.Rewriting.Rules;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.CustomOps.Tests;

/// <summary>Every form of a product with an int8 weight gives, by native operators, what standard operators give.</summary>
[TestClass]
public sealed class Int8ProductTests
{
    private const int In = 37;
    private const int Out = 21;

    [TestMethod]
    [DataRow(0, false, "Gemm", "MatMulInt8Grad")]
    [DataRow(0, true, "Gemm", "MatMulInt8")]
    [DataRow(1, false, "Gemm", "MatMulInt8")]
    [DataRow(1, true, "Gemm", "MatMulInt8Grad")]
    [DataRow(0, false, "MatMul", "MatMulInt8Grad")]
    [DataRow(0, true, "MatMul", "MatMulInt8")]
    [DataRow(1, false, "MatMul", "MatMulInt8")]
    [DataRow(1, true, "MatMul", "MatMulInt8Grad")]
    public void Rewrite_EachForm_GivesThePortableResult(int scaleAxis, bool isTransposed, string op, string native)
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();
        using OnnxModel portable = Product(scaleAxis, isTransposed, op, withBias: op == "Gemm", DataType.Float);
        using OnnxModel rewritten = ModelCloner.Clone(portable);

        Assert.IsTrue(new RewritePass(new Int8ProductFusion(Int8Compute.Fp32)).Run(rewritten));

        rewritten.OpsetImports[OpCatalog.Domain] = OpCatalog.Version;
        Assert.AreEqual(1, rewritten.Graph.Nodes.Count(n => n.Is(native, OpCatalog.Domain)));
        Compare(portable, rewritten, library, 1e-5);
    }

    [TestMethod]
    [DataRow(DataType.Float, Int8Compute.Auto, 1e-3)]
    [DataRow(DataType.Float, Int8Compute.Bf16, 1e-2)]
    [DataRow(DataType.Float, Int8Compute.Int16, 1e-3)]
    [DataRow(DataType.Float, Int8Compute.Int8, 2e-2)]
    [DataRow(DataType.Float16, Int8Compute.Fp32, 2e-3)]
    public void Rewrite_EachArithmetic_StaysNearThePortableResult(DataType type, Int8Compute compute, double tolerance)
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();
        using OnnxModel portable = Product(0, true, "Gemm", withBias: false, type);
        using OnnxModel rewritten = ModelCloner.Clone(portable);

        Assert.IsTrue(new RewritePass(new Int8ProductFusion(compute)).Run(rewritten));

        rewritten.OpsetImports[OpCatalog.Domain] = OpCatalog.Version;
        Compare(portable, rewritten, library, tolerance);
    }

    private static void Compare(OnnxModel portable, OnnxModel rewritten, CustomOpLibrary library, double tolerance)
    {
        new Graph.Passes.DeadNodeEliminationPass().Run(rewritten);
        Assert.IsFalse(rewritten.Graph.Nodes.Any(n => n.Is("DequantizeLinear")));
        DenseTensor x = DenseTensor.Of([5, In], [.. Enumerable.Range(0, 5 * In).Select(i => MathF.Sin(i * 0.37f))]);
        using GraphRunner expected = new(portable, new EngineOptions());
        using GraphRunner actual = new(rewritten, new EngineOptions { CustomOps = library });
        TensorAssert.AreClose(expected.Run(Feed(x), ["y"])["y"].ToFloats(), actual.Run(Feed(x), ["y"])["y"].ToFloats(), tolerance, "y");
    }

    private static Dictionary<string, DenseTensor> Feed(DenseTensor x) => new() { ["x"] = x };

    /// <summary><c>y = x * M (+ bias)</c>, where M [In, Out] is a dequantized matrix or the transposed of one.</summary>
    private static OnnxModel Product(int scaleAxis, bool isTransposed, string op, bool withBias, DataType type)
    {
        OnnxGraph graph = new("product");
        GraphBuilder b = new(graph, 21);
        Value x = graph.AddInput("x", DataType.Float, new Shape(Dimension.Of("rows"), In));
        long[] dims = isTransposed ? [Out, In] : [In, Out];
        sbyte[] bytes = [.. Enumerable.Range(0, In * Out).Select(i => (sbyte)((i * 73 % 256) - 128))];
        Value q = graph.AddInitializer("q", DenseTensor.Of(dims, bytes));
        Value scale = graph.AddInitializer(
            "scale", DenseTensor.Vector([.. Enumerable.Range(0, (int)dims[scaleAxis]).Select(i => 0.01f + (0.001f * i))]));
        Value weight = b.Cast(b.Op("DequantizeLinear", [q, scale], ("axis", scaleAxis)), type);
        Value?[] addend = withBias ? [graph.AddInitializer("bias", DenseTensor.Vector([.. Enumerable.Range(0, Out).Select(i => 0.1f * i)]))] : [];
        Value rows = b.Cast(x, type);
        Value y = op == "Gemm"
            ? b.Op("Gemm", [rows, weight, .. addend], ("transB", isTransposed ? 1 : 0))
            : b.MatMul(rows, isTransposed ? b.Transpose(weight, 1, 0) : weight);
        Value result = b.Op("Identity", [b.Cast(y, DataType.Float)]);
        result.Name = "y";
        graph.AddOutput(result);
        return new OnnxModel(graph) { Opset = 21, IrVersion = 10 };
    }
}
