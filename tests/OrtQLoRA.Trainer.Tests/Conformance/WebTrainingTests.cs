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
using OrtQLoRA.Trainer.Tokenizers;
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
    public void Train_InTheWebRuntime_AgreesWithTheSessionEngine(string model, TrainingTask task, string method, QuantizationKind quantization)
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

    [TestMethod]
    public void Page_InABrowser_FineTunesTheDemoModel()
    {
        NodeRuntime.Require();
        using TemporaryFolder folder = new();
        ConformanceCase demo = new("demo", TrainingTask.CausalLm, "lora", QuantizationKind.None);
        TrainingOptions options = new() { Model = demo.Model, Out = folder.File("artifacts/x")[..^2], Rank = 4, Ops = OpsMode.Portable };
        ArtifactsWriter.Write(options, new ArtifactOptions { Target = ArtifactTarget.Web, LearningRate = 0.002 });
        string vocabulary = Path.Combine(Path.GetDirectoryName(demo.Model)!, "tokenizer.bin");
        File.Copy(vocabulary, folder.File("artifacts/tokenizer.bin"));
        JsonNode result = JsonNode.Parse(NodeRuntime.Run("browser.mjs", options.Out))!;
        Assert.IsNull(result["error"], result.ToJsonString());
        double before = (double)result["before"]!;
        Assert.IsLessThan(0.8 * before, (double)result["after"]!, "The loss must fall.");
        using (OrtCheckpoint checkpoint = OrtCheckpointReader.Read(folder.File("artifacts/checkpoint")))
        {
            Assert.AreEqual(checkpoint.Trainable.Sum(p => p.Value!.ElementCount()), (long)result["adapter"]!);
        }


        // The adapter starts at nothing: the page's first loss is that of the model, on our tokens.
        string page = File.ReadAllText(Path.Combine(Fixtures.RepositoryRoot()!, "docs", "samples", "web-finetune", "page.mjs"));
        string[] lines = [.. page.Split('\n').SkipWhile(l => !l.StartsWith("const logbook", StringComparison.Ordinal)).Skip(1).TakeWhile(l => l != "];").Select(l => l.Trim().Trim(',').Trim('\''))];
        ITextTokenizer tokenizer = TokenizerLoader.Load(vocabulary);
        using OnnxModel graph = OnnxModelReader.Read(options.Model);
        ModelFacts facts = ModelFacts.Read(graph);
        using AdapterSettings settings = AdapterSettings.Create(options);
        using TrainingGraph training = TrainingGraphSetup.Build(graph, facts, settings, options, null, SessionDialect.Instance);
        using SessionTrainingEngine engine = new(training.Artifacts);
        double expected = lines.Average(line =>
        {
            long[] ids = [.. tokenizer.Encode(line).Select(t => (long)t)];
            DenseTensor tokens = DenseTensor.Of([1, ids.Length], ids);
            return engine.EvalStep(new Dictionary<string, DenseTensor>
            {
                ["input_ids"] = tokens,
                ["labels"] = tokens,
                ["attention_mask"] = DenseTensor.Of([1, ids.Length], [.. ids.Select(_ => 1L)]),
            }).Loss;
        });
        Assert.AreEqual(expected, before, 1e-4 * expected);
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
