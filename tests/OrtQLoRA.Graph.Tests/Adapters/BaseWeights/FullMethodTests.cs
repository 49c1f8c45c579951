using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Adapters.BaseWeights;

[TestClass]
public sealed class FullMethodTests
{
    [TestMethod]
    public void Run_HeadThatRepeatsTheEmbedding_IsTrainedAsOneWithIt()
    {
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require("peft/bases/gpt2/model.onnx"));
        AdapterInsertionPass pass = new(new FullMethod(), new BaseWeightConfig());

        pass.Run(model);

        string[] keys = [.. pass.Inserted.Parameters.Select(p => p.FileKey)];
        CollectionAssert.Contains(keys, "transformer.wte.weight");
        CollectionAssert.DoesNotContain(keys, "lm_head.weight");
        Assert.IsFalse(model.Graph.Initializers.Any(i => i.Initializer!.Dims is [48, 96] or [96, 48]), "Neither copy of the table is left as a constant.");
    }

    [TestMethod]
    public void Merge_TiedTable_ChangesBothCopies()
    {
        string path = Fixtures.Require("peft/bases/gpt2/model.onnx");
        using OnnxModel beside = OnnxModelReader.Read(path);
        AdapterInsertionPass pass = new(new FullMethod(), new BaseWeightConfig { Parameters = ModuleSelector.OfNames("wte.weight", "lm_head.weight") });
        pass.Run(beside);
        ITensor table = DenseTensor.Of(pass.Inserted.Parameters.Single().InitialValue.Dims, Array.ConvertAll(pass.Inserted.Parameters[0].InitialValue.ToFloats(), v => v * 1.5f));
        using OnnxModel merged = OnnxModelReader.Read(path);

        MergedModelExporter.Merge(merged, pass.Inserted.ToWeights(_ => table));

        Dictionary<string, ITensor> feeds = new() { ["input_ids"] = DenseTensor.Of([1, 4], [5L, 6, 7, 8]), ["attention_mask"] = DenseTensor.Of([1, 4], [1L, 1, 1, 1]) };
        ITensor expected = OrtRunner.Run(beside, feeds.Append(new("transformer.wte.weight", table)).ToDictionary())["logits"];
        TensorAssert.AreClose(expected, OrtRunner.Run(merged, feeds)["logits"], 1e-5);
    }

    [TestMethod]
    public void Plan_ParametersByExpression_TrainsThose()
    {
        using OnnxModel model = SmallDecoder.Build();
        AdapterInsertionPass pass = new(new FullMethod(), new BaseWeightConfig { Parameters = ModuleSelector.OfRegex(@"model\.fc\..*") });

        pass.Run(model);

        CollectionAssert.AreEqual(new[] { "model.fc.weight", "model.fc.bias" }, pass.Inserted.Parameters.Select(p => p.Name).ToArray());
        Assert.IsTrue(pass.Inserted.Parameters[0].IsTransposedInFile);
        CollectionAssert.AreEqual(new long[] { 6, 4 }, pass.Inserted.InitialWeights().Tensors["model.fc.weight"].Dims.ToArray());
    }

    [TestMethod]
    public void Plan_NothingMatches_ListsParameters()
    {
        using OnnxModel model = SmallDecoder.Build();
        AdapterInsertionPass pass = new(new FullMethod(), new BaseWeightConfig { Parameters = ModuleSelector.OfNames("nothing") });

        StringAssert.Contains(Assert.ThrowsExactly<ConfigurationException>(() => pass.Run(model)).Message, "model.fc.weight");
    }

    [TestMethod]
    public void Plan_QuantizedModel_IsRefused()
    {
        using OnnxModel model = SmallDecoder.Build();
        new WeightQuantizationPass(new EetqInt8Format()).Run(model);

        StringAssert.Contains(Assert.ThrowsExactly<ConfigurationException>(() => new AdapterInsertionPass(new FullMethod(), new BaseWeightConfig()).Run(model)).Message, "model.fc");
    }

    [TestMethod]
    public void Plan_ModulePath_TrainsItsParameters()
    {
        using OnnxModel model = SmallDecoder.Build();
        AdapterInsertionPass pass = new(new FullMethod(), new BaseWeightConfig { Parameters = ModuleSelector.OfNames("fc") });

        pass.Run(model);

        CollectionAssert.AreEqual(new[] { "model.fc.weight", "model.fc.bias" }, pass.Inserted.Parameters.Select(p => p.Name).ToArray());
    }

    [TestMethod]
    public void TrainsWhole_ChosenParameters_AreThoseModules()
    {
        BaseWeightConfig chosen = new() { Parameters = ModuleSelector.OfNames("fc", "embed_tokens.weight", "norm.bias") };

        CollectionAssert.AreEqual(
            new[] { true, true, false, false },
            new[] { "model.fc", "model.embed_tokens", "model.norm", "model.other" }.Select(chosen.TrainsWhole).ToArray());
        Assert.IsFalse(new BaseWeightConfig().TrainsWhole("model.fc"), "The method's own choice is not the configuration's.");
    }

    [TestMethod]
    public void Plan_BiasesOfQuantizedModel_AreTrained()
    {
        using OnnxModel model = SmallDecoder.Build();
        new WeightQuantizationPass(new EetqInt8Format()).Run(model);
        AdapterInsertionPass pass = new(new BitFitMethod(), new BaseWeightConfig());

        pass.Run(model);

        CollectionAssert.AreEqual(new[] { "model.fc.bias" }, pass.Inserted.Parameters.Select(p => p.Name).ToArray());
    }

    [TestMethod]
    public void ReadConfig_OfToJson_IsTheSame()
    {
        BaseWeightConfig config = new() { TaskType = "SEQ_CLS", ModulesToSave = ["score"], Parameters = ModuleSelector.OfNames("a", "b") };

        AdapterConfig read = new FullMethod().ReadConfig(config.ToJson(), "test");

        Assert.IsTrue(JsonNode.DeepEquals(config.ToJson(), read.ToJson()));
    }
}
