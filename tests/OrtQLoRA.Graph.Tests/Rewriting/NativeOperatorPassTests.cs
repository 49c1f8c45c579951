using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Rewriting;

namespace OrtQLoRA.Graph.Tests.Rewriting;

[TestClass]
public sealed class NativeOperatorPassTests
{
    private const string Domain = "ortqlora";

    private static readonly LlamaModelOptions Size = new() { HiddenSize = 16, IntermediateSize = 24, LayerCount = 1, HeadCount = 2, VocabularySize = 32 };

    [TestMethod]
    public void Run_DeviceWithoutSomeKernels_FusesTheRest()
    {
        using OnnxModel model = Quantized();

        new NativeOperatorPass(Int8Compute.Fp32, [], ["MatMulInt8", "MatMulInt8Grad", "SwiGlu", "SwiGluGrad", "RmsNorm"]).Run(model);

        HashSet<string> native = [.. model.Graph.Nodes.Where(n => n.Domain == Domain).Select(n => n.OpType)];
        CollectionAssert.AreEquivalent(new[] { "MatMulInt8", "SwiGlu" }, native.ToArray(), "RmsNorm lacks its gradient.");
    }

    [TestMethod]
    public void Run_NoNativeKernels_LeavesTheGraphAsItIs()
    {
        using OnnxModel model = Quantized();
        string before = GraphPrinter.Print(model);

        Assert.IsFalse(new NativeOperatorPass(Int8Compute.Fp32, [], []).Run(model));

        Assert.AreEqual(before, GraphPrinter.Print(model));
    }

    [TestMethod]
    public void Run_Packer_GivesOperatorsItsLayoutOnceForAllModels()
    {
        using OnnxModel one = Quantized();
        using OnnxModel other = ModelCloner.Clone(one);
        List<(long K, long N)> packed = [];
        Int8WeightPacker packer = new("reversed", (q, k, n) =>
        {
            packed.Add((k, n));
            return q.ToArray().Reverse().ToArray();
        });
        NativeOperatorPass pass = new(Int8Compute.Fp32, [], packer: packer);

        pass.Run(one);
        pass.Run(other);

        Node[] products = [.. one.Graph.Nodes.Where(n => n.Is("MatMulInt8", Domain))];
        Assert.HasCount(7, products);
        Assert.HasCount(7, packed, "Each weight is packed once, whatever the number of models.");
        foreach (Node product in products)
        {
            ITensor q = product.Inputs[1]!.Initializer!;
            Assert.AreEqual("reversed", product.GetString("layout", ""));
            Assert.AreEqual(DataType.UInt8, q.ElementType);
            Assert.AreEqual(product.GetInt("K", 0) * product.GetInt("N", 0), q.ByteLength);
            Assert.IsTrue(other.Graph.Nodes.Any(n => n.Is("MatMulInt8", Domain) && ReferenceEquals(n.Inputs[1]!.Initializer, q)));
        }

        CollectionAssert.Contains(packed, (16L, 24L), "gate_proj is [hidden, MLP].");
    }

    [TestMethod]
    public void Run_ProductsOverRows_TakeTheLeadingAxesThemselves()
    {
        using OnnxModel model = Quantized();
        Assert.IsTrue(model.Graph.Nodes.Any(n => n.Is("Gemm") && n.Inputs[0]!.Producer?.Is("Reshape") == true), "The quantized product runs over rows.");

        new NativeOperatorPass(Int8Compute.Fp32, []).Run(model);

        Node[] products = [.. model.Graph.Nodes.Where(n => n.Is("MatMulInt8", Domain))];
        Assert.HasCount(7, products);
        foreach (Node product in products)
        {
            Assert.AreEqual(3, product.Inputs[0]!.Shape!.Rank, product.Name);
            Assert.AreEqual(3, product.Outputs[0].Shape!.Rank, product.Name);
        }

        GraphVerifier.Verify(model);
    }

    private static OnnxModel Quantized()
    {
        OnnxModel model = LlamaModelBuilder.Build(Size);
        NormalisationPipeline.ForTraining(v => v.Initializer is not null && v.ElementType.IsFloatingPoint() && v.Initializer.ElementCount() > 1).Run(model);
        new WeightQuantizationPass(WeightFormatRegistry.Default.Get("eetq"), WeightQuantizationPass.IsQuantizedByDefault).Run(model);
        return model;
    }
}
