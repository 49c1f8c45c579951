using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Tests.Adapters;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

/// <summary>Weights of a cross-attention as PyTorch exports them: one matrix, cut at bounds that follow from the input's width.</summary>
[TestClass]
public sealed class SliceBoundsPassTests
{
    [TestMethod]
    public void Run_ComputedBounds_TellTheModules()
    {
        using OnnxModel model = Build();
        Assert.HasCount(0, LinearFinder.Find(model).Sites);

        Assert.IsTrue(new SliceBoundsPass().Run(model));

        CollectionAssert.AreEqual(new[] { new WeightSlice(0, 0, 4), new WeightSlice(0, 4, 8) }, LinearFinder.Find(model).Sites.Select(s => s.Slice!.Value).ToArray());
        Assert.IsFalse(SliceBoundsPass.IsNeeded(model));
    }

    [TestMethod]
    public void Merge_PartsCutAtComputedBounds_ChangesTheWeightAlone()
    {
        // As in training: constants folded, parts with initializers of their own.
        using OnnxModel beside = Build();
        NormalisationPipeline.ForTraining(TrainingGraphBuilder.MayBeTrained).Run(beside);
        new SlicedWeightPass().Run(beside);
        AdapterInsertionPass pass = new(new LoraMethod(), new LoraConfig { Rank = 2, TargetModules = ModuleSelector.AllLinear, Initialization = LoraInitialization.Random });
        pass.Run(beside);
        Assert.HasCount(4, pass.Inserted.Parameters);
        using OnnxModel merged = Build();
        string[] before = [.. merged.Graph.Nodes.Select(n => n.Name)];

        MergedModelExporter.Merge(merged, pass.Inserted.InitialWeights());

        CollectionAssert.AreEqual(before, merged.Graph.Nodes.Select(n => n.Name).ToArray());
        Dictionary<string, ITensor> feeds = new() { ["query"] = SmallDecoder.Weights(DataType.Float, 5, 2, 3, 4), ["memory"] = SmallDecoder.Weights(DataType.Float, 6, 2, 3, 4) };
        ITensor expected = OrtRunner.Run(beside, feeds.Concat(pass.Inserted.Parameters.Select(p => KeyValuePair.Create(p.Name, p.InitialValue))).ToDictionary())["y"];
        using OnnxModel untouched = Build();
        Assert.IsGreaterThan(0.01, TensorAssert.RelativeL2<float>(expected.ToFloats(), OrtRunner.Run(untouched, feeds)["y"].ToFloats()));
        using OnnxModel written = OnnxModelReader.Read(OnnxModelWriter.ToBytes(merged));
        TensorAssert.AreClose(expected, OrtRunner.Run(written, feeds)["y"], 1e-6);
    }

    private static OnnxModel Build()
    {
        OnnxGraph graph = new("cross");
        OnnxModel model = new(graph) { Opset = 17, IrVersion = 8 };
        GraphBuilder b = new(graph, 17) { Scope = "/attn/" };
        Shape shape = new(Dimension.Of("batch"), Dimension.Of("sequence"), 4);
        Value query = graph.AddInput("query", DataType.Float, shape);
        Value memory = graph.AddInput("memory", DataType.Float, shape);
        Value weight = graph.AddInitializer("attn.in_proj_weight", SmallDecoder.Weights(DataType.Float, 1, 12, 4));
        Value width = b.ShapeOf(query, 2, 3);
        Value end = b.Mul(width, b.Int64s(3));
        Value q = Product("q", query, b.Op("Slice", [weight, b.Int64s(0), width, b.Int64s(0)]));
        Value kv = Product("kv", memory, b.Op("Slice", [weight, width, end, b.Int64s(0)]));
        Value y = b.Concat(2, q, kv);
        y.Name = "y";
        graph.AddOutput(y);
        return model;

        Value Product(string name, Value x, Value part)
        {
            Value product = b.MatMul(x, b.Transpose(part, 1, 0));
            product.Producer!.Name = $"/attn/MatMul_{name}";
            return product;
        }
    }
}
