using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.LayerNormTuning;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Prompts;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Tests.Linears;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Adapters.BaseWeights;

[TestClass]
public sealed class FoldedNormTrainingTests
{
    // PyTorch's parameter: what the norm multiplies by, less 1.
    private static readonly float[] Parameter = [0.25f, -0.5f, 0f, -1.75f];

    private static readonly float[] Trained = [0.5f, -0.25f, 2f, -1f];

    [TestMethod]
    [DataRow("full")]
    [DataRow("ln-tuning")]
    [DataRow("modules_to_save")]
    public void Run_FoldedNorm_TrainsPyTorchsParameterAndMergesItsSum(string method)
    {
        (IAdapterMethod adapter, AdapterConfig config, string key) = Method(method);
        using OnnxModel beside = SmallGemma.Build();
        AdapterInsertionPass pass = new(adapter, config);
        pass.Run(beside);
        AdapterWeights start = pass.Inserted.InitialWeights();
        CollectionAssert.AreEqual(Parameter, start.Tensors[key].ToFloats());

        Dictionary<string, ITensor> values = pass.Inserted.Parameters.ToDictionary(p => p.Name, p => p.FileKey == key ? DenseTensor.Of([4], Trained) : p.InitialValue);
        using OnnxModel merged = SmallGemma.Build();
        MergedModelExporter.Merge(merged, pass.Inserted.ToWeights(name => values[name]));

        CollectionAssert.AreEqual(Array.ConvertAll(Trained, v => v + 1), merged.Graph.GetValue("onnx::Mul_7").Initializer!.ToFloats());
        Dictionary<string, ITensor> feeds = SmallDecoder.Feeds();
        ITensor expected = OrtRunner.Run(beside, feeds.Concat(values).ToDictionary())["logits"];
        TensorAssert.AreClose(expected, OrtRunner.Run(merged, feeds)["logits"], 1e-6);
    }

    [TestMethod]
    [DataRow("/model/embed_tokens", 1f, DisplayName = "the embedding's module multiplies")]
    [DataRow("/model", 2f, DisplayName = "the model multiplies, prompts included")]
    public void Run_PromptBeforeAScaledEmbedding_StandsBehindTheEmbeddingsModule(string factorScope, float factor)
    {
        using OnnxModel model = SmallGemma.Build(factorScope: factorScope);
        AdapterInsertionPass pass = new(new PromptTuningMethod(), new PromptTuningConfig { VirtualTokens = 1 });
        pass.Run(model);
        float[] prompt = [1f, -2f, 3f, 0.5f];

        ITensor logits = OrtRunner.Run(model, new Dictionary<string, ITensor>(SmallDecoder.Feeds()) { [pass.Inserted.Parameters.Single().Name] = DenseTensor.Of([1, 4], prompt) })["logits"];

        float[] norm = SmallGemma.NormWeights.ToFloats();
        float[] head = SmallDecoder.Weights(DataType.Float, 2, 4, 9).ToFloats();
        float[] expected = [.. Enumerable.Range(0, 9).Select(c => Enumerable.Range(0, 4).Sum(k => prompt[k] * factor * norm[k] * head[(k * 9) + c]))];
        TensorAssert.AreClose(expected, logits.ToFloats()[..9], 1e-6);
    }

    private static (IAdapterMethod Method, AdapterConfig Config, string Key) Method(string name) => name switch
    {
        "full" => (new FullMethod(), new BaseWeightConfig { Parameters = ModuleSelector.OfNames("norm.weight") }, "model.norm.weight"),
        "ln-tuning" => (new LayerNormMethod(), new LayerNormConfig(), "base_model.model.model.norm.ln_tuning_layers.weight"),
        _ => (new LoraMethod(), new LoraConfig { TargetModules = ModuleSelector.OfNames("embed_tokens"), ModulesToSave = ["norm"] }, "base_model.model.model.norm.weight"),
    };
}
