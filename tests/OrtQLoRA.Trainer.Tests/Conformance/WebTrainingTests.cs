using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Graph.Training.OrtTraining;
using OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;
using OrtQLoRA.TestKit;
using OrtQLoRA.TestKit.Conformance;
using OrtQLoRA.Trainer.Artifacts;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Tests.Conformance;

/// <summary>
/// Our artifacts in ONNX Runtime's own training session for the web (onnxruntime-web 1.19.2 in Node), beside the session engine
/// on the ONNX Runtime of this build.
/// </summary>
[TestClass]
public sealed class WebTrainingTests
{
    [TestMethod]
    [DynamicData(nameof(ConformanceCase.All), typeof(ConformanceCase))]
    public void Train_InTheWebRuntime_AgreesWithTheSessionEngine(string model, TrainingTask task, TrainingMethod method, QuantizationKind quantization)
    {
        NodeRuntime.Require();
        ConformanceCase conformance = new(model, task, method, quantization);
        using TemporaryFolder folder = new();
        TrainingOptions options = conformance.Options(folder.File("artifacts/x")[..^2]);
        ArtifactSummary summary = ArtifactsWriter.Write(options, new ArtifactOptions { Target = ArtifactTarget.Web });
        using OnnxModel graph = OnnxModelReader.Read(options.Model);
        ModelFacts facts = ModelFacts.Read(graph);
        IReadOnlyList<IReadOnlyDictionary<string, DenseTensor>> batches = conformance.Batches(facts);
        ConformanceRun web = RunInNode(folder, summary.Files, batches);

        using AdapterSettings settings = AdapterSettings.Create(options);
        using TrainingGraph training = TrainingGraphSetup.Build(graph, facts, settings, options, null, SessionDialect.Instance);
        using SessionTrainingEngine engine = new(training.Artifacts);
        ConformanceRun.AssertAgree(ConformanceRun.Of(engine, batches), web);
    }

    private static ConformanceRun RunInNode(TemporaryFolder folder, OrtArtifactFiles files, IReadOnlyList<IReadOnlyDictionary<string, DenseTensor>> batches)
    {
        JsonObject work = new()
        {
            ["accumulation"] = ConformanceCase.Accumulation,
            ["batches"] = new JsonArray([.. batches.SkipLast(1).Select(ToJson)]),
            ["eval"] = ToJson(batches[^1]),
        };
        NodeRuntime.Run("train.mjs", files.Folder, folder.Write("batches.json", work.ToJsonString()), folder.File("result.json"));
        JsonNode result = JsonNode.Parse(File.ReadAllText(folder.File("result.json")))!;
        CollectionAssert.AreEqual(new[] { "loss", "logits" }, Texts(result["outputs"]!));
        return new ConformanceRun(
            [.. result["losses"]!.AsArray().Select(l => (double)l!)],
            (double)result["evalBefore"]!,
            (double)result["evalAfter"]!,
            Parameters(files, result["parameters"]!.Deserialize<float[]>()!));
    }

    /// <summary>Cuts the flat buffer, which has the order of the training model's inputs.</summary>
    private static Dictionary<string, float[]> Parameters(OrtArtifactFiles files, float[] flat)
    {
        using OrtCheckpoint checkpoint = OrtCheckpointReader.Read(files.Checkpoint);
        using OnnxModel training = OnnxModelReader.Read(files.TrainingModel);
        Dictionary<string, CheckpointParameter> byName = checkpoint.Trainable.ToDictionary(p => p.Name);
        Dictionary<string, float[]> parameters = [];
        int start = 0;
        foreach (string name in training.Graph.Inputs.Select(i => i.Name).Where(byName.ContainsKey))
        {
            int length = (int)byName[name].Value!.ElementCount();
            parameters[name] = flat[start..(start + length)];
            start += length;
        }

        Assert.AreEqual(flat.Length, start);
        return parameters;
    }

    private static JsonObject ToJson(IReadOnlyDictionary<string, DenseTensor> batch) => new(batch.Select(b => KeyValuePair.Create(b.Key, (JsonNode?)new JsonObject
    {
        ["type"] = b.Value.ElementType == DataType.Int64 ? "int64" : "float32",
        ["dims"] = new JsonArray([.. b.Value.Dims.Select(d => (JsonNode)d)]),
        ["data"] = b.Value.ElementType == DataType.Int64
            ? new JsonArray([.. b.Value.ToInt64s().Select(v => (JsonNode)v)])
            : new JsonArray([.. b.Value.ToFloats().Select(v => (JsonNode)v)]),
    })));

    private static string[] Texts(JsonNode array) => [.. array.AsArray().Select(v => (string)v!)];
}
