using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Tests.Adapters;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Export;

[TestClass]
public sealed class MergedModelExporterTests
{
    [TestMethod]
    [DataRow("embed_tokens")]
    [DataRow("lm_head")]
    public void Merge_OneOfTwoTiedModules_LeavesTheOther(string target)
    {
        (OnnxModel beside, AdapterWeights adapter, Dictionary<string, ITensor> parameters) = Insert(() => SmallDecoder.Build(isTied: true), Config(target));
        using OnnxModel merged = SmallDecoder.Build(isTied: true);

        MergedModelExporter.Merge(merged, adapter);

        TensorAssert.AreClose(Run(beside, parameters), Run(merged), 1e-5);
        TensorAssert.AreEqual(SmallDecoder.Build(isTied: true).Graph.GetValue("model.embed_tokens.weight").Initializer!, merged.Graph.GetValue("model.embed_tokens.weight").Initializer!);
    }

    [TestMethod]
    [DataRow("fc")]
    [DataRow("lm_head")]
    public void Merge_LoraBias_JoinsTheBiasOrAddsOneUnderTheOutputsName(string target)
    {
        LoraConfig config = Config(target);
        config.HasLoraBias = true;
        (OnnxModel beside, AdapterWeights adapter, Dictionary<string, ITensor> parameters) = Insert(() => SmallDecoder.Build(), config);
        using OnnxModel merged = SmallDecoder.Build();
        int nodes = merged.Graph.NodeCount;

        MergedModelExporter.Merge(merged, adapter);

        Assert.AreEqual(nodes + (target == "lm_head" ? 1 : 0), merged.Graph.NodeCount);
        Assert.AreEqual("logits", merged.Graph.Outputs.Single().Name);
        TensorAssert.AreClose(Run(beside, parameters), Run(merged), 1e-5);
    }

    [TestMethod]
    public void Merge_Float16Model_KeepsItsType()
    {
        (_, AdapterWeights adapter, _) = Insert(() => SmallDecoder.Build(DataType.Float16), Config("fc", "embed_tokens"));
        using OnnxModel merged = SmallDecoder.Build(DataType.Float16);

        MergedModelExporter.Merge(merged, adapter);

        Assert.AreEqual(DataType.Float16, merged.Graph.GetValue("onnx::MatMul_7").Initializer!.ElementType);
        Assert.IsTrue(Run(merged).ToFloats().All(float.IsFinite));
    }

    [TestMethod]
    [DataRow(1)]
    [DataRow(7)]
    [DataRow(1000)]
    public void Merge_WeightReadInPartsOfAnySize_IsTheSame(int part)
    {
        (_, AdapterWeights adapter, _) = Insert(() => SmallDecoder.Build(), Config("fc"));
        using OnnxModel merged = SmallDecoder.Build();
        MergedModelExporter.Merge(merged, adapter);
        ITensor weight = merged.Graph.GetValue("onnx::MatMul_7").Initializer!;

        byte[] read = new byte[weight.ByteLength];
        for (int offset = 0; offset < read.Length; offset += part)
        {
            weight.Read(offset, read.AsSpan(offset, Math.Min(part, read.Length - offset)));
        }

        CollectionAssert.AreEqual(weight.ToBytes(), read);
    }

    [TestMethod]
    public void Merge_GemmWithAlpha_CountsIt()
    {
        static OnnxModel Build()
        {
            OnnxGraph graph = new("g");
            GraphBuilder builder = new(graph, 17);
            Value x = graph.AddInput("x", DataType.Float, Shape.Of(2, 4));
            Value y = builder.Op(
                "Gemm",
                [x, graph.AddInitializer("fc.weight", SmallDecoder.Weights(DataType.Float, 1, 3, 4)), graph.AddInitializer("fc.bias", SmallDecoder.Weights(DataType.Float, 2, 3))],
                ("transB", 1), ("alpha", 0.5f), ("beta", 2f));
            y.Name = "y";
            graph.AddOutput(y);
            return new OnnxModel(graph) { Opset = 17, IrVersion = 8 };
        }

        LoraConfig config = Config("fc");
        config.HasLoraBias = true;
        (OnnxModel beside, AdapterWeights adapter, Dictionary<string, ITensor> parameters) = Insert(Build, config);
        using OnnxModel merged = Build();
        Dictionary<string, ITensor> feeds = new() { ["x"] = SmallDecoder.Weights(DataType.Float, 5, 2, 4) };

        MergedModelExporter.Merge(merged, adapter);

        TensorAssert.AreClose(OrtRunner.Run(beside, feeds.Concat(parameters).ToDictionary())["y"], OrtRunner.Run(merged, feeds)["y"], 1e-5);
    }

    [TestMethod]
    public void Merge_TensorsWithoutConfiguration_AreRefused()
    {
        using OnnxModel model = SmallDecoder.Build();

        StringAssert.Contains(
            Assert.ThrowsExactly<ConfigurationException>(() => MergedModelExporter.Merge(model, new AdapterWeights(null, null, new Dictionary<string, ITensor>(), "'x.safetensors'"))).Message,
            "x.safetensors");
    }

    private static LoraConfig Config(params string[] targets) => new()
    {
        Rank = 2,
        Alpha = 4,
        TargetModules = ModuleSelector.OfNames(targets),
        Initialization = LoraInitialization.Random,
    };

    private static (OnnxModel Beside, AdapterWeights Adapter, Dictionary<string, ITensor> Parameters) Insert(Func<OnnxModel> build, LoraConfig config)
    {
        OnnxModel model = build();
        AdapterInsertionPass pass = new(new LoraMethod(), config) { IsTraining = false, Seed = 11 };
        pass.Run(model);
        return (model, pass.Inserted.InitialWeights(), pass.Inserted.Parameters.ToDictionary(p => p.Name, p => p.InitialValue));
    }

    private static ITensor Run(OnnxModel model, Dictionary<string, ITensor>? parameters = null) =>
        OrtRunner.Run(model, SmallDecoder.Feeds().Concat(parameters ?? []).ToDictionary())["logits"];
}
