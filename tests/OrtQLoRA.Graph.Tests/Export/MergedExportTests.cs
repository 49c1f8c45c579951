using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Export;

/// <summary>
/// The adapter beside the base in a normalised copy, and merged into the original: the same function, for graphs that real
/// exporters wrote.
/// </summary>
[TestClass]
public sealed class MergedExportTests
{
    public static IEnumerable<object[]> Exports =>
    [
        ["ts11_bert_encoder"], ["ts13_distilbert_initializers_as_inputs"], ["ts14_albert_shared_layers"], ["ts17_gpt2"], ["ts17_t5"],
        ["ts17_clip_text"], ["dyn18_gpt2_external"], ["dyn18_llama_unoptimized"], ["dyn18_local_functions"], ["dyn18_mlp"],
        ["dyn18_modernbert"], ["dyn21_gemma"], ["dyn23_llama_attention_op"], ["fp16_llama"], ["genai_gemma_fp32_cpu"],
        ["optimum_llama_with_past"], ["ortopt_gpt2"], ["ortopt_bert_classifier"], ["ortopt_bert_fp16"],
    ];

    [TestMethod]
    [DynamicData(nameof(Exports))]
    public void Merge_RandomAdapterOnEverything_EqualsTheAdapterBeside(string name) => AssertMergeEqualsInsert(name, null);

    [TestMethod]
    [DataRow("ts14_albert_shared_layers")]
    [DataRow("ts17_gpt2")]
    [DataRow("dyn18_llama_unoptimized")]
    [DataRow("ortopt_bert_classifier")]
    public void Merge_OntoQuantizedBase_EqualsTheAdapterBesideIt(string name) => AssertMergeEqualsInsert(name, new EetqInt8Format());

    private static void AssertMergeEqualsInsert(string name, IWeightFormat? format)
    {
        string folder = Fixtures.Require("exports/" + name);
        using JsonDocument description = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "case.json")));
        string file = Path.Combine(folder, description.RootElement.GetProperty("model_file").GetString()!);
        using SafetensorsFile data = SafetensorsFile.Open(Path.Combine(folder, "data.safetensors"));
        using OnnxModel original = OnnxModelReader.Read(file);
        Dictionary<string, ITensor> feeds = original.Graph.RequiredInputs.ToDictionary(i => i.Name, i => data["case0.input." + i.Name]);

        using OnnxModel beside = OnnxModelReader.Read(file);
        NormalisationPipeline.ForTraining().Run(beside);
        new SlicedWeightPass().Run(beside);
        if (format is not null)
        {
            new WeightQuantizationPass(format).Run(beside);
        }

        LinearModule[] targets = [.. LinearFinder.Find(original).Modules.Where(m => m.Kind != LinearKind.Convolution)];
        LoraConfig config = new()
        {
            Rank = 3,
            Alpha = 2,
            TargetModules = ModuleSelector.OfNames(targets.Select(m => m.Path)),
            Initialization = LoraInitialization.Random,
        };
        AdapterInsertionPass pass = new(new LoraMethod(), config) { IsTraining = false, Seed = 7 };
        pass.Run(beside);
        Assert.HasCount(2 * targets.Length, pass.Inserted.Parameters);

        using OnnxModel merged = OnnxModelReader.Read(file);
        MergedModelExporter.Merge(merged, pass.Inserted.InitialWeights(), new MergeOptions { Format = format });

        IReadOnlyDictionary<string, ITensor> before = OrtRunner.Run(original, feeds);
        IReadOnlyDictionary<string, ITensor> expected = OrtRunner.Run(
            beside,
            feeds.Where(f => beside.Graph.TryGetValue(f.Key, out Value? input) && input.IsGraphInput)
                .Concat(pass.Inserted.Parameters.Select(p => KeyValuePair.Create(p.Name, p.InitialValue)))
                .ToDictionary(),
            format is null ? GraphOptimizationLevel.ORT_ENABLE_ALL : GraphOptimizationLevel.ORT_DISABLE_ALL);
        IReadOnlyDictionary<string, ITensor> actual = OrtRunner.Run(merged, feeds);
        bool isHalf = description.RootElement.GetProperty("dtype").GetString() == "float16";
        int changed = 0;
        foreach ((string output, ITensor value) in expected)
        {
            TensorAssert.AreClose(value, actual[output], isHalf ? 1e-2 : 1e-4, $"{name}: {output}");
            changed += TensorAssert.RelativeL2<float>(before[output].ToFloats(), value.ToFloats()) > 0.05 ? 1 : 0;
        }

        Assert.IsGreaterThan(0, changed, "The adapter should change the outputs.");
    }
}
