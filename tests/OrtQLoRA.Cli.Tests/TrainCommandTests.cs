using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests;

/// <summary>The way of a user: train, look at the run folder, evaluate, export; and what happens when something is wrong.</summary>
[TestClass]
public sealed class TrainCommandTests
{
    private static readonly string[] Common = ["--rank", "4", "--lr", "0.01", "--batch", "2", "--seed", "7"];

    [TestMethod]
    public void Train_SmallModel_WritesTheRunFolderAndLearns()
    {
        using TemporaryFolder folder = new();
        string run = Train(folder, "run", "--max-steps", "12", "--grad-accum", "2", "--eval-data", Data(folder, "eval.jsonl", 4));

        JsonElement[] steps = Metrics(run);
        Assert.HasCount(12, steps);
        CollectionAssert.AreEqual(Enumerable.Range(1, 12).ToArray(), steps.Select(s => s.GetProperty("step").GetInt32()).ToArray());
        foreach (string key in new[] { "loss", "grad_norm", "lr", "tokens", "seconds" })
        {
            Assert.IsTrue(steps.All(s => s.TryGetProperty(key, out JsonElement value) && value.GetDouble() >= 0), key);
        }

        Assert.IsLessThan(steps[0].GetProperty("loss").GetDouble(), steps[^1].GetProperty("loss").GetDouble());
        Assert.IsTrue(File.Exists(Path.Combine(run, "adapter", "adapter_model.safetensors")));
        Assert.IsTrue(File.Exists(Path.Combine(run, "adapter", "adapter_config.json")));
        Assert.IsTrue(File.Exists(Path.Combine(run, "eval.json")));
        using JsonDocument config = JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "config.resolved.json")));
        Assert.AreEqual(0.01, config.RootElement.GetProperty("lr").GetDouble());
        Assert.AreEqual("causal-lm", config.RootElement.GetProperty("task").GetString());
    }

    [TestMethod]
    [DataRow("none")]
    [DataRow("eetq")]
    public void Train_SameSeedTwice_GivesTheSameBits(string quantization)
    {
        using TemporaryFolder folder = new();
        string first = Train(folder, "first", "--max-steps", "5", "--quant", quantization, "--dropout", "0.1");
        string second = Train(folder, "second", "--max-steps", "5", "--quant", quantization, "--dropout", "0.1");

        CollectionAssert.AreEqual(Adapter(first), Adapter(second));
        string other = Train(folder, "other", "--max-steps", "5", "--quant", quantization, "--seed", "8");
        CollectionAssert.AreNotEqual(Adapter(first), Adapter(other));
    }

    [TestMethod]
    [DataRow("none")]
    [DataRow("eetq")]
    public void Export_AfterTraining_EvaluatesLikeTheTrainedGraph(string quantization)
    {
        using TemporaryFolder folder = new();
        string eval = Data(folder, "eval.jsonl", 4);
        string run = Train(folder, "run", "--max-steps", "8", "--quant", quantization, "--eval-data", eval);
        string merged = folder.File("merged.onnx");

        CommandLine.Succeed("export", "--run", run, "--to", "merged", "--output", merged);

        using JsonDocument trained = JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "eval.json")));
        using JsonDocument exported = JsonDocument.Parse(CommandLine.Succeed("eval", "--model", merged, "--data", eval, "--json"));
        using JsonDocument ofRun = JsonDocument.Parse(CommandLine.Succeed("eval", "--run", run, "--data", eval, "--json"));
        double loss = trained.RootElement.GetProperty("loss").GetDouble();
        Assert.AreEqual(loss, exported.RootElement.GetProperty("loss").GetDouble(), 1e-4 * loss);
        Assert.AreEqual(loss, ofRun.RootElement.GetProperty("loss").GetDouble(), 1e-4 * loss);
        Assert.AreEqual(Math.Exp(loss), exported.RootElement.GetProperty("perplexity").GetDouble(), 1e-3 * Math.Exp(loss));
        using OnnxModel original = OnnxModelReader.Read(Model(folder));
        using OnnxModel result = OnnxModelReader.Read(merged);
        CollectionAssert.AreEqual(original.Graph.Inputs.Select(i => i.Name).ToArray(), result.Graph.Inputs.Select(i => i.Name).ToArray());
        CollectionAssert.AreEqual(original.Graph.Outputs.Select(i => i.Name).ToArray(), result.Graph.Outputs.Select(i => i.Name).ToArray());
        CollectionAssert.AreEqual(original.Graph.Initializers.Select(i => i.Name).ToArray(), result.Graph.Initializers.Select(i => i.Name).ToArray());
    }

    [TestMethod]
    public void Train_ConfigFile_IsOverriddenByFlags()
    {
        using TemporaryFolder folder = new();
        string config = folder.Write("run.yaml", "max-steps: 9\nlr-schedule: linear\nwarmup-steps: 1\n");
        string run = Train(folder, "run", "--config", config, "--max-steps", "3");

        double[] rates = [.. Metrics(run).Select(s => s.GetProperty("lr").GetDouble())];
        CollectionAssert.AreEqual(new[] { 0, 0.01, 0.005 }, rates);
    }

    [TestMethod]
    public void Train_EpochsWithoutShuffle_TakesFileOrder()
    {
        using TemporaryFolder folder = new();
        string run = Train(folder, "run", "--epochs", "2", "--no-shuffle", "--lr", "0");

        double[] losses = [.. Metrics(run).Select(s => s.GetProperty("loss").GetDouble())];
        Assert.HasCount(8, losses);
        CollectionAssert.AreEqual(losses[..4], losses[4..]);
    }

    [TestMethod]
    public void Train_LossBecomesNaN_KeepsTheLastGoodAdapterAndNamesTheLines()
    {
        using TemporaryFolder folder = new();
        string run = folder.File("run");

        string error = CommandLine.Fail(Arguments(folder, run, "--lr", "1e30", "--max-grad-norm", "0", "--max-steps", "20", "--no-shuffle"));

        StringAssert.Contains(error, "train.jsonl:");
        StringAssert.Contains(error, "step ");
        Assert.IsTrue(File.Exists(Path.Combine(run, "adapter", "adapter_model.safetensors")));
        Assert.IsGreaterThan(0, Metrics(run).Length);
    }

    [TestMethod]
    public void Train_WrongOptions_ListsAllAndWritesNothing()
    {
        using TemporaryFolder folder = new();
        string run = folder.File("run");

        string error = CommandLine.Fail("train", "--model", folder.File("no.onnx"), "--out", run, "--batch", "0", "--rank", "-3");

        foreach (string expected in new[] { "no.onnx", "--data", "--batch is 0", "--rank is -3" })
        {
            StringAssert.Contains(error, expected);
        }

        Assert.IsFalse(Directory.Exists(run));
        StringAssert.Contains(CommandLine.Fail("train", "--lr", "fast", "--rank", "much"), "--rank is 'much'; it must be a whole number");
    }

    [TestMethod]
    public void Train_FaultyData_NamesTheLineAndKeepsAnEarlierRun()
    {
        using TemporaryFolder folder = new();
        string run = Train(folder, "run", "--max-steps", "2");
        string data = folder.Write("bad.jsonl", "{\"input_ids\": [1, 2, 3]}\n{\"input_ids\": [1, 999]}\n");

        string error = CommandLine.Fail("train", "--model", Model(folder), "--data", data, "--out", run);

        StringAssert.StartsWith(error.Split('\n').First(l => l.Contains("bad.jsonl", StringComparison.Ordinal)), $"{data}:2: input_ids[1] is 999");
        Assert.IsTrue(File.Exists(Path.Combine(run, "adapter", "adapter_model.safetensors")));
    }

    [TestMethod]
    public void Train_NoTargetMatches_ListsNearMisses()
    {
        using TemporaryFolder folder = new();

        string error = CommandLine.Fail(Arguments(folder, folder.File("run"), "--targets", "q_prj", "--max-steps", "1"));

        StringAssert.Contains(error, "q_proj");
    }

    [TestMethod]
    public void Train_OutputBehindAFile_IsRefusedBeforeTraining()
    {
        using TemporaryFolder folder = new();
        string file = folder.Write("file", "");

        StringAssert.Contains(CommandLine.Fail(Arguments(folder, Path.Combine(file, "run"), "--max-steps", "1")), "cannot be written");
    }

    [TestMethod]
    [DataRow("")]
    [DataRow("not a model")]
    public void Train_NoModel_IsRefused(string content)
    {
        using TemporaryFolder folder = new();
        string model = folder.Write("broken.onnx", content);

        StringAssert.Contains(
            CommandLine.Fail("train", "--model", model, "--data", Data(folder, "train.jsonl", 8), "--out", folder.File("run")), "broken.onnx");
    }

    [TestMethod]
    public void Generate_AfterTraining_ContinuesIds()
    {
        using TemporaryFolder folder = new();
        string run = Train(folder, "run", "--max-steps", "2");

        string ids = CommandLine.Succeed("generate", "--run", run, "--ids", "1,2,3", "--max-new-tokens", "5").Trim();

        Assert.HasCount(5, ids.Split(','));
        Assert.AreEqual(ids, CommandLine.Succeed("generate", "--run", run, "--ids", "1,2,3", "--max-new-tokens", "5").Trim());
    }

    [TestMethod]
    public void Quantize_SmallModel_EvaluatesLikeAnEetqBase()
    {
        using TemporaryFolder folder = new();
        string output = folder.File("int8.onnx");
        string eval = Data(folder, "eval.jsonl", 4);

        CommandLine.Succeed("quantize", "--model", Model(folder), "--output", output, "--report", folder.File("report.json"));

        string run = Train(folder, "run", "--max-steps", "1", "--lr", "0", "--quant", "eetq", "--eval-data", eval);
        using JsonDocument trained = JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "eval.json")));
        using JsonDocument quantized = JsonDocument.Parse(CommandLine.Succeed("eval", "--model", output, "--data", eval, "--json"));
        double loss = trained.RootElement.GetProperty("loss").GetDouble();
        Assert.AreEqual(loss, quantized.RootElement.GetProperty("loss").GetDouble(), 1e-4 * loss);
        Assert.IsTrue(File.Exists(folder.File("report.json")));
    }

    private static string Train(TemporaryFolder folder, string name, params string[] flags)
    {
        string run = folder.File(name);
        CommandLine.Succeed(Arguments(folder, run, flags));
        return run;
    }

    /// <summary>The common flags, as far as <paramref name="flags"/> do not set them otherwise.</summary>
    private static string[] Arguments(TemporaryFolder folder, string run, params string[] flags) =>
    [
        "train", "--model", Model(folder), "--data", Data(folder, "train.jsonl", 8), "--out", run,
        .. Common.Chunk(2).Where(pair => !flags.Contains(pair[0])).SelectMany(pair => pair), .. flags,
    ];

    private static string Model(TemporaryFolder folder)
    {
        string path = folder.File("model.onnx");
        if (!File.Exists(path))
        {
            using OnnxModel model = LlamaModelBuilder.Build(new LlamaModelOptions
            {
                HiddenSize = 32,
                IntermediateSize = 48,
                LayerCount = 2,
                HeadCount = 4,
                VocabularySize = 64,
                ContextLength = 64,
                InitializerRange = 0.2,
            });
            OnnxModelWriter.Write(model, path);
        }

        return path;
    }

    /// <summary>Lines that count upwards from different starts, of unequal length.</summary>
    private static string Data(TemporaryFolder folder, string name, int lines) => folder.Write(
        name,
        string.Concat(Enumerable.Range(0, lines).Select(i =>
            $"{{\"input_ids\": [{string.Join(", ", Enumerable.Range(0, 6 + (i % 3)).Select(t => ((i * 5) + t) % 64))}]}}\n")));

    private static JsonElement[] Metrics(string run) =>
        [.. File.ReadLines(Path.Combine(run, "metrics.jsonl")).Select(l => JsonDocument.Parse(l).RootElement)];

    private static byte[] Adapter(string run) => File.ReadAllBytes(Path.Combine(run, "adapter", "adapter_model.safetensors"));
}
