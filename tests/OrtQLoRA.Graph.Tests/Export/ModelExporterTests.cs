using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Onnx;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.Export.Layout;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Tests.Adapters;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Export;

/// <summary>Every form of export, read again by plain ONNX Runtime, computes what base and adapter computed together.</summary>
[TestClass]
public sealed class ModelExporterTests
{
    // One rounding to 8 bits moves a weight by about 0.8 %; over the layers of these models outputs move by at most this.
    private const double Int8Tolerance = 5e-2;

    public static IEnumerable<object[]> Models =>
    [
        ["ts11_bert_encoder"], ["ts13_distilbert_initializers_as_inputs"], ["ts14_albert_shared_layers"], ["dyn18_gpt2_external"],
        ["dyn18_llama_unoptimized"], ["dyn18_local_functions"], ["dyn21_gemma"], ["dyn23_llama_attention_op"], ["fp16_llama"],
        ["genai_llama_fp32_cpu"], ["genai_llama_fp16_cuda"], ["ortopt_gpt2"], ["ortopt_bert_classifier"], ["nbits4_llama"], ["genai_qwen3_int8"],
    ];

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void Export_OnnxForms_ComputeTheTrainedFunction(string name)
    {
        using ExportedCase model = new(name);
        double tolerance = model.IsHalf ? 2e-3 : 1e-4;
        Assert.IsGreaterThan(0.05, ExportedCase.Distance(model.Base, model.Trained), "The adapter should change the outputs.");

        AssertTrained(model, tolerance, model.Export(ExportKind.Merged, "merged").Model!);
        AssertTrained(model, 2e-3, model.Export(ExportKind.Merged, "half", precision: DataType.Float16).Model!);
        AssertTrained(model, tolerance, model.Export(ExportKind.Merged, "single", precision: DataType.Float).Model!);
        AssertTrained(model, Int8Tolerance, model.Export(ExportKind.Int8, "qdq").Model!);
        AssertTrained(model, Int8Tolerance, model.Export(ExportKind.Int8, "nbits", QuantizedForm.MatMulNBits).Model!);
        ExportResult adapter = model.Export(ExportKind.Adapter, "adapter");
        Assert.IsLessThan(tolerance, ExportedCase.Distance(model.Base, model.Run(adapter.Model!)), "base without its adapter");
        AssertTrained(model, tolerance, adapter.Model!, adapter.OnnxAdapter!);
    }

    [TestMethod]
    [DataRow("decoder_input_ids", true)]
    [DataRow("input_ids", false)]
    public void Export_MergedFile_TakesTheConfigurationOfAnEncoderDecoderAlong(string input, bool isCopied)
    {
        using TemporaryFolder folder = new();
        string path = folder.File("base/model.onnx");
        folder.Write("base/config.json", "{\"decoder_start_token_id\": 3}");
        using (OnnxModel model = SmallDecoder.Build())
        {
            model.Graph.GetValue("input_ids").Name = input;
            OnnxModelWriter.Write(model, path);
            AdapterInsertionPass pass = new(new LoraMethod(), new LoraConfig { Rank = 2, TargetModules = ModuleSelector.OfNames("fc") });
            pass.Run(model);
            PeftAdapterFolder.Write(folder.File("adapter"), pass.Inserted.InitialWeights());
        }

        ExportResult result = ModelExporter.Export(
            new ExportSource { Model = path, Adapter = folder.File("adapter") }, new ExportOptions { Kind = ExportKind.Merged, Output = folder.File("out/merged.onnx") });

        Assert.AreEqual(isCopied, File.Exists(folder.File("out/config.json")));
        Assert.AreEqual(isCopied, result.Warnings.Any(w => w.Contains("config.json", StringComparison.Ordinal)));
    }

    [TestMethod]
    public void Export_SeveralAdapters_ShareOneBase()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("model.onnx");
        using OnnxModel original = SmallDecoder.Build();
        OnnxModelWriter.Write(original, path);
        ITensor first = Trained("first", new LoraConfig { Rank = 2, TargetModules = ModuleSelector.OfNames("fc"), Initialization = LoraInitialization.Random });
        ITensor second = Trained("second", new LoraConfig { Rank = 3, TargetModules = ModuleSelector.OfNames("fc", "lm_head"), HasLoraBias = true, Initialization = LoraInitialization.Random });

        ExportSource source = new() { Model = path, Adapter = folder.File("first/adapter"), FurtherAdapters = [folder.File("second/adapter")] };
        ExportResult result = ModelExporter.Export(source, new ExportOptions { Kind = ExportKind.Adapter, Output = folder.File("out") });

        CollectionAssert.AreEqual(new[] { "first.onnx_adapter", "second.onnx_adapter" }, result.OnnxAdapters.Select(Path.GetFileName).ToArray());
        TensorAssert.AreClose(OrtRunner.Run(original, SmallDecoder.Feeds())["logits"], Run(), 1e-6);
        TensorAssert.AreClose(first, Run(result.OnnxAdapters[0]), 1e-6);
        TensorAssert.AreClose(second, Run(result.OnnxAdapters[1]), 1e-6);
        StringAssert.Contains(
            Assert.ThrowsExactly<ConfigurationException>(() => ModelExporter.Export(source, new ExportOptions { Kind = ExportKind.Merged, Output = folder.File("merged") })).Message,
            "adapter merge");

        ITensor Trained(string name, LoraConfig config)
        {
            using OnnxModel model = OnnxModelReader.Read(path);
            AdapterInsertionPass pass = new(new LoraMethod(), config) { Seed = name.Length };
            pass.Run(model);
            PeftAdapterFolder.Write(Path.Combine(folder.File(name), "adapter"), pass.Inserted.InitialWeights());
            return OrtRunner.Run(model, SmallDecoder.Feeds().Concat(pass.Inserted.Parameters.Select(p => KeyValuePair.Create(p.Name, p.InitialValue))).ToDictionary())["logits"];
        }

        ITensor Run(params string[] active)
        {
            using InferenceSession session = new(result.Model!);
            OrtLoraAdapter[] adapters = [.. active.Select(a => OrtLoraAdapter.Create(a, null))];
            try
            {
                return OrtRunner.Run(session, SmallDecoder.Feeds(), options => Array.ForEach(adapters, options.AddActiveLoraAdapter))["logits"];
            }
            finally
            {
                Array.ForEach(adapters, a => a.Dispose());
            }
        }
    }

    [TestMethod]
    public void Export_EetqBase_KeepsItsBytes()
    {
        using ExportedCase model = new("ts17_llama_gqa", new EetqInt8Format());

        AssertTrained(model, 1e-4, model.Export(ExportKind.Merged, "merged").Model!);
        ExportResult adapter = model.Export(ExportKind.Adapter, "adapter", QuantizedForm.MatMulNBits);

        Assert.IsTrue(adapter.Quantization!.Layers.All(l => l.Error.RelativeFrobenius == 0), "Quantizing what was dequantized loses nothing.");
        Assert.IsLessThan(1e-4, ExportedCase.Distance(model.Base, model.Run(adapter.Model!)));
        AssertTrained(model, 1e-4, adapter.Model!, adapter.OnnxAdapter!);
    }

    [TestMethod]
    public void Export_SeveralAdapters_ShareOneBaseInOneProcess()
    {
        using ExportedCase first = new("ts17_gpt2", seed: 1);
        using ExportedCase second = new("ts17_gpt2", seed: 2);
        ExportResult one = first.Export(ExportKind.Adapter, "a/one.onnx_adapter");
        ExportResult two = second.Export(ExportKind.Adapter, "a/two.onnx_adapter");

        Assert.IsLessThan(1e-4, ExportedCase.Distance(first.Trained, first.Run(one.Model!, one.OnnxAdapter!)));
        Assert.IsLessThan(1e-4, ExportedCase.Distance(second.Trained, first.Run(one.Model!, two.OnnxAdapter!)));
        Assert.IsLessThan(1e-4, ExportedCase.Distance(first.Base, first.Run(one.Model!)));
        Assert.IsGreaterThan(0.05, ExportedCase.Distance(first.Trained, second.Trained));
    }

    [TestMethod]
    public void Export_EmbeddingLora_StandsBesideTheBase()
    {
        using ExportedCase model = new("ts17_llama_gqa", null, 3, LinearKind.Linear, LinearKind.Embedding);

        ExportResult adapter = model.Export(ExportKind.Adapter);

        AssertTrained(model, 1e-4, adapter.Model!, adapter.OnnxAdapter!);
        Assert.IsLessThan(1e-4, ExportedCase.Distance(model.Base, model.Run(adapter.Model!)));
    }

    [TestMethod]
    [DataRow(DataType.Float16, 2e-3)]
    [DataRow(DataType.BFloat16, 2e-2)]
    public void Export_NarrowAdapter_HasInputsOfItsType(DataType type, double tolerance)
    {
        using ExportedCase model = new("dyn18_llama_unoptimized");

        ExportResult adapter = model.Export(ExportKind.Adapter, precision: type);

        Assert.IsTrue(OnnxAdapterFile.Read(adapter.OnnxAdapter!).Values.All(t => t.ElementType == type));
        AssertTrained(model, tolerance, adapter.Model!, adapter.OnnxAdapter!);
    }

    [TestMethod]
    public void Export_AdapterAndBack_IsTheSameBits()
    {
        using ExportedCase model = new("ts17_gpt2");
        model.Export(ExportKind.Peft, "peft");
        ExportResult exported = model.Export(ExportKind.Adapter, "adapter");
        using AdapterWeights original = PeftAdapterFolder.Read(model.Adapter);
        using AdapterWeights peft = PeftAdapterFolder.Read(model.PathOf("peft"));
        using AdapterWeights onnx = PeftAdapterFolder.Read(exported.OnnxAdapter!);

        CollectionAssert.AreEquivalent(original.Tensors.Keys.ToArray(), peft.Tensors.Keys.ToArray());
        CollectionAssert.AreEquivalent(original.Tensors.Keys.ToArray(), onnx.Tensors.Keys.ToArray());
        const float scaling = 2f / 4f;
        foreach ((string key, ITensor tensor) in original.Tensors)
        {
            CollectionAssert.AreEqual(tensor.ToBytes(), peft.Tensors[key].ToBytes(), key);
            float factor = key.Contains("lora_B", StringComparison.Ordinal) ? 1 / scaling : 1;
            CollectionAssert.AreEqual(tensor.ToFloats(), Array.ConvertAll(onnx.Tensors[key].ToFloats(), v => v * factor), key);
        }
    }

    [TestMethod]
    public void Export_EetqOfSizesWithoutTiles_IsRefused()
    {
        using ExportedCase model = new("ts17_gpt2");

        ConfigurationException refused = Assert.ThrowsExactly<ConfigurationException>(() => model.Export(ExportKind.Eetq, "eetq"));

        StringAssert.Contains(refused.Message, "multiples of 64");
    }

    [TestMethod]
    public void Export_AnotherBaseThanTrained_IsRefused()
    {
        using ExportedCase model = new("dyn18_mlp");
        using OnnxModel read = OnnxModelReader.Read(model.Model);
        string hash = WeightHash.Of(read);
        ExportSource With(string baseHash) => new() { Model = model.Model, Adapter = model.Adapter, BaseHash = baseHash };
        ExportOptions options = new() { Kind = ExportKind.Merged, Output = model.PathOf("merged.onnx") };

        ConfigurationException refused = Assert.ThrowsExactly<ConfigurationException>(() => ModelExporter.Export(With("xxh128:00"), options));

        StringAssert.Contains(refused.Message, hash);
        StringAssert.Contains(refused.Message, "xxh128:00");
        Assert.IsFalse(File.Exists(options.Output));
        ModelExporter.Export(With(hash), options);
        using OnnxModel merged = OnnxModelReader.Read(options.Output);
        Assert.AreNotEqual(hash, WeightHash.Of(merged));
    }

    [TestMethod]
    public void Export_AdapterOfAnotherShape_ListsEveryMismatch()
    {
        using ExportedCase model = new("ts17_gpt2");
        using ExportedCase other = new("ts17_llama_gqa");
        ExportSource source = new() { Model = model.Model, Adapter = model.Adapter };
        string file = Path.Combine(model.Adapter, PeftAdapterFolder.WeightsFile);
        Dictionary<string, ITensor> tensors;
        using (SafetensorsFile read = SafetensorsFile.Open(file))
        {
            tensors = read.Tensors.ToDictionary(t => t.Key, t => (ITensor)new DenseTensor(t.Value.ElementType, t.Value.Dims, t.Value.ToBytes()));
        }

        string[] keys = [.. tensors.Keys.Order(StringComparer.Ordinal)];
        tensors.Remove(keys[0]);
        tensors[keys[1]] = DenseTensor.Of([3, 5], new float[15]);
        tensors["base_model.model.nowhere.lora_A.weight"] = DenseTensor.Of([4, 5], new float[20]);
        SafetensorsWriter.Write(file, tensors);

        foreach (ExportKind kind in Enum.GetValues<ExportKind>())
        {
            string message = Assert.ThrowsExactly<ConfigurationException>(
                () => ModelExporter.Export(source, new ExportOptions { Kind = kind, Output = model.PathOf("out") })).Message;
            StringAssert.Contains(message, $"'{keys[0]}'");
            StringAssert.Contains(message, $"'{keys[1]}' has shape [3, 5]");
            StringAssert.Contains(message, "nowhere");
        }
    }

    [TestMethod]
    [DataRow(ExternalDataMode.Keep, 1)]
    [DataRow(ExternalDataMode.Embed, 0)]
    [DataRow(ExternalDataMode.Single, 1)]
    [DataRow(ExternalDataMode.Sharded, 3)]
    public void Export_ExternalData_LiesWhereItIsWanted(ExternalDataMode mode, int dataFiles)
    {
        using ExportedCase model = new("dyn18_gpt2_external");
        string output = model.PathOf("out/model.onnx");

        ModelExporter.Export(
            new ExportSource { Model = model.Model, Adapter = model.Adapter },
            new ExportOptions { Kind = ExportKind.Merged, Output = output, ExternalData = mode, ShardBytes = 30_000 });

        int found = Directory.GetFiles(model.PathOf("out")).Length - 1;
        Assert.IsTrue(mode == ExternalDataMode.Sharded ? found >= dataFiles : found == dataFiles, $"{found} data files");
        AssertTrained(model, 1e-4, output);
    }

    [TestMethod]
    public void Export_OntoTheBaseItself_IsRefused()
    {
        using ExportedCase model = new("dyn18_mlp");

        StringAssert.Contains(
            Assert.ThrowsExactly<ConfigurationException>(() => ModelExporter.Export(
                new ExportSource { Model = model.Model, Adapter = model.Adapter },
                new ExportOptions { Kind = ExportKind.Merged, Output = model.Model })).Message,
            "base model itself");
    }

    private static void AssertTrained(ExportedCase model, double tolerance, string path, params string[] adapters) =>
        Assert.IsLessThan(tolerance, ExportedCase.Distance(model.Trained, model.Run(path, adapters)), Path.GetFileName(Path.GetDirectoryName(path)));
}
