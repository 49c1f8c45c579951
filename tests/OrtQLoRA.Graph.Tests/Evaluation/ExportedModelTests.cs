using System.Text.Json;
using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Evaluation;

/// <summary>Whole graphs as exporters write them, in float64, against the outputs that their framework recorded.</summary>
[TestClass]
public sealed class ExportedModelTests
{
    private const double Tolerance = 1e-4;

    // The recorded outputs of models with quantized activations are those of the float model.
    private const double QuantizedTolerance = 5e-2;

    // Fused attention and block-quantized weights have no kernels.
    private static readonly string[] Families = ["ts", "dyn18_", "dyn20_", "dyn21_", "optimum_", "weight_only_qdq", "static_qdq", "dynamic_int8"];

    public static IEnumerable<object[]> Exports => Fixtures.Files("case.json", "exports")
        .Select(f => Path.GetDirectoryName(f)!.Replace('\\', '/'))
        .Where(f => f.Length == 0 || Families.Any(p => Path.GetFileName(f).StartsWith(p, StringComparison.Ordinal)))
        .Select(f => new object[] { f });

    [TestMethod]
    [DynamicData(nameof(Exports))]
    public void Run_ExportedModel_GivesRecordedOutputs(string folder)
    {
        using JsonDocument facts = JsonDocument.Parse(File.ReadAllText(Fixtures.Require($"{folder}/case.json")));
        string file = facts.RootElement.TryGetProperty("model_file", out JsonElement named) ? named.GetString()! : "model.onnx";
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require($"{folder}/{file}"));
        using SafetensorsFile data = SafetensorsFile.Open(Fixtures.Require($"{folder}/data.safetensors"));
        IReadOnlyDictionary<string, ReferenceTensor> outputs = new ReferenceEvaluator(model).Run(Part(data, "case0.input."));
        foreach ((string name, ReferenceTensor expected) in Part(data, "case0.output."))
        {
            double tolerance = folder.Contains("static_qdq", StringComparison.Ordinal) || folder.Contains("int8", StringComparison.Ordinal) ? QuantizedTolerance : Tolerance;
            TensorAssert.AreClose([.. expected.Floats], [.. outputs[name].Floats], tolerance, name);
        }
    }

    [TestMethod]
    [DataRow("models/aidreams260k.onnx")]
    [DataRow("models/stories260k.onnx")]
    public void Run_TrainedDecoder_GivesRuntimesLogits(string path)
    {
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require(path));
        Dictionary<string, ReferenceTensor> feeds = new()
        {
            ["input_ids"] = NodeRunner.I([2, 5], 1, 403, 407, 261, 378, 1, 31, 9, 0, 0),
            ["attention_mask"] = NodeRunner.I([2, 5], 1, 1, 1, 1, 1, 1, 1, 1, 0, 0),
        };
        ReferenceTensor logits = new ReferenceEvaluator(model).Run(feeds)["logits"];
        ITensor expected = OrtRunner.Run(model, feeds.ToDictionary(f => f.Key, f => f.Value.ToTensor()))["logits"];
        TensorAssert.AreClose(expected, logits.ToTensor(), Tolerance);
    }

    private static Dictionary<string, ReferenceTensor> Part(SafetensorsFile data, string prefix) => data.Tensors
        .Where(t => t.Key.StartsWith(prefix, StringComparison.Ordinal))
        .ToDictionary(t => t.Key[prefix.Length..], t => ReferenceTensor.From(t.Value));
}
