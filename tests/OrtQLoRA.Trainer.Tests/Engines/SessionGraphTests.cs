using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Engines.Session;

namespace OrtQLoRA.Trainer.Tests.Engines;

/// <summary>What happens to a graph and its weights on the way into a session.</summary>
[TestClass]
public sealed class SessionGraphTests
{
    private const int Size = 128;

    [TestMethod]
    public void Run_DequantizedWeightReadTwice_IsMadeForEachReader()
    {
        OnnxModel model = TwoReaders();

        WeightRematerialization.Run(model.Graph);

        Node[] nodes = [.. model.Graph.Nodes];
        CollectionAssert.AreEqual(
            new[] { "DequantizeLinear", "MatMul", "Relu", "DequantizeLinear", "Gemm" }, nodes.Select(n => n.OpType).ToArray());
        Assert.AreNotSame(nodes[1].Inputs[1], nodes[4].Inputs[1]);
        GraphVerifier.Verify(model);
    }

    [TestMethod]
    public void Run_FormOfAForm_GetsASourceOfItsOwn()
    {
        OnnxGraph graph = new("g");
        GraphBuilder b = new(graph, 21);
        Value x = graph.AddInput("x", DataType.Float, new Shape(Dimension.Of("n"), Size));
        Value weight = b.Op("DequantizeLinear", [Quantized(graph), b.Scalar(0.5f)]);
        Value transposed = b.Op("Transpose", [weight], ("perm", new long[] { 1, 0 }));
        graph.AddOutput(b.Op("MatMul", [b.Op("MatMul", [x, weight]), transposed]));
        OnnxModel model = new(graph) { Opset = 21, IrVersion = 10 };

        WeightRematerialization.Run(graph);

        Assert.AreEqual(2, graph.Nodes.Count(n => n.OpType == "DequantizeLinear"));
        GraphVerifier.Verify(model);
    }

    [TestMethod]
    public void Run_SmallConstants_StayShared()
    {
        OnnxGraph graph = new("g");
        GraphBuilder b = new(graph, 21);
        Value x = graph.AddInput("x", DataType.Float, Shape.Of(4));
        Value negative = b.Op("Neg", [graph.AddInitializer("c", DenseTensor.Vector(1f, 2f, 3f, 4f))]);
        graph.AddOutput(b.Add(b.Add(x, negative), negative));

        WeightRematerialization.Run(graph);

        Assert.AreEqual(1, graph.Nodes.Count(n => n.OpType == "Neg"));
    }

    [TestMethod]
    public void GraphRunner_ReversedAndRematerialised_GivesTheSameNumbers()
    {
        OnnxModel model = TwoReaders();
        DenseTensor x = DenseTensor.Of([2, Size], SmallArtifacts.Pattern(2 * Size, 1));
        using GraphRunner runner = new(model);

        float[] actual = runner.Run(new Dictionary<string, DenseTensor> { ["x"] = x }, ["y"])["y"].ToFloats();

        float[] weight = Array.ConvertAll(model.Graph.GetValue("q").Initializer!.ToArray<sbyte>(), q => q * 0.5f);
        float[] expected = new float[2 * Size];
        for (int row = 0; row < 2; row++)
        {
            float[] hidden = new float[Size];
            for (int j = 0; j < Size; j++)
            {
                hidden[j] = MathF.Max(0, Enumerable.Range(0, Size).Sum(i => x.ToFloats()[(row * Size) + i] * weight[(i * Size) + j]));
            }

            for (int j = 0; j < Size; j++)
            {
                expected[(row * Size) + j] = Enumerable.Range(0, Size).Sum(i => hidden[i] * weight[(j * Size) + i]);
            }
        }

        TensorAssert.AreClose(expected, actual, 1e-5);
    }

    [TestMethod]
    public void Serialize_LargeWeights_AreReferencesToTheSameMemory()
    {
        using FrozenWeights weights = new();
        OnnxModel model = TwoReaders();
        byte[] bytes = weights.Serialize(model, out IReadOnlyCollection<string> blocks);
        weights.Serialize(TwoReaders(model.Graph.GetValue("q").Initializer!), out IReadOnlyCollection<string> again);

        Assert.IsLessThan(Size * Size, bytes.Length, "The weight does not lie in the model's bytes.");
        CollectionAssert.AreEqual(blocks.ToArray(), again.ToArray(), "Two models with the same tensor share its block.");
        Assert.AreEqual(0, weights.CopiedBytes);
    }

    [TestMethod]
    public void GraphRunner_MappedWeights_AreNotCopied()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("model.onnx");
        OnnxModelWriter.Write(TwoReaders(), path, new ExternalDataOptions());
        using OnnxModel model = OnnxModelReader.Read(path);
        Assert.IsInstanceOfType<ExternalTensor>(model.Graph.GetValue("q").Initializer);
        using FrozenWeights weights = new();

        weights.Serialize(model, out _);

        Assert.AreEqual(0, weights.CopiedBytes);
        using GraphRunner runner = new(model);
        runner.Run(new Dictionary<string, DenseTensor> { ["x"] = DenseTensor.Of([1, Size], new float[Size]) }, ["y"]);
    }

    [TestMethod]
    public void Reverse_Nodes_StandBackwards()
    {
        OnnxModel model = TwoReaders();
        string[] before = [.. model.Graph.Nodes.Select(n => n.Name)];

        ExecutionOrder.Reverse(model.Graph);

        CollectionAssert.AreEqual(before.Reverse().ToArray(), model.Graph.Nodes.Select(n => n.Name).ToArray());
    }

    /// <summary>y = relu(x W) W^T with a dequantized W that both products read.</summary>
    private static OnnxModel TwoReaders(ITensor? content = null)
    {
        OnnxGraph graph = new("g");
        GraphBuilder b = new(graph, 21);
        Value x = graph.AddInput("x", DataType.Float, new Shape(Dimension.Of("n"), Size));
        Value weight = b.Op("DequantizeLinear", [Quantized(graph, content), b.Scalar(0.5f)]);
        Value hidden = b.Op("Relu", [b.Op("MatMul", [x, weight])]);
        Value y = b.Op("Gemm", [hidden, weight], ("transB", 1L));
        y.Name = "y";
        graph.AddOutput(y);
        return new OnnxModel(graph) { Opset = 21, IrVersion = 10 };
    }

    private static Value Quantized(OnnxGraph graph, ITensor? content = null) => graph.AddInitializer(
        "q", content ?? DenseTensor.Of([Size, Size], [.. Enumerable.Range(0, Size * Size).Select(i => (sbyte)((i * 7 % 31) - 15))]));
}
