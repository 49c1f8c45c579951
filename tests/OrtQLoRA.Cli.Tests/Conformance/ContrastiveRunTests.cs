using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests.Conformance;

/// <summary>The embedding task on a real sentence encoder, against a run of PEFT: losses, gradient norms and the adapter at the end.</summary>
[TestClass]
public sealed class ContrastiveRunTests
{
    private const string Folder = "real/minilm-l6-v2";

    [TestMethod]
    public void Train_SentencePairs_FollowsTheRecordedRun()
    {
        using JsonDocument recorded = JsonDocument.Parse(File.ReadAllText(Fixtures.Require($"{Folder}/contrastive/run.json")));
        using TemporaryFolder folder = new();
        string data = folder.Write("pairs.jsonl", string.Join('\n', Lines(recorded.RootElement)) + "\n");
        string run = folder.File("run");

        CommandLine.Succeed(
            "train", "--model", Fixtures.Require($"{Folder}/model.onnx"), "--tokenizer", Fixtures.Require(Folder), "--data", data, "--eval-data", data, "--out", run,
            "--task", "embedding", "--init-adapter", Fixtures.Require($"{Folder}/contrastive/start"), "--batch", "12", "--no-shuffle", "--max-steps", "8",
            "--lr", "2e-4", "--weight-decay", "0.01", "--max-grad-norm", "1");

        JsonElement[] steps = [.. File.ReadLines(Path.Combine(run, "metrics.jsonl")).Select(l => JsonDocument.Parse(l).RootElement.Clone())];
        JsonElement[] expected = [.. recorded.RootElement.GetProperty("per_step").EnumerateArray()];
        Assert.HasCount(expected.Length, steps);
        for (int i = 0; i < steps.Length; i++)
        {
            double norm = expected[i].GetProperty("grad_norm").GetDouble();
            Assert.AreEqual(expected[i].GetProperty("loss").GetDouble(), steps[i].GetProperty("loss").GetDouble(), 1e-4, $"loss of step {i + 1}");
            Assert.AreEqual(norm, steps[i].GetProperty("grad_norm").GetDouble(), 1e-3 * norm, $"gradient norm of step {i + 1}");
        }

        using JsonDocument evaluation = JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "eval.json")));
        Assert.IsGreaterThan(0.9, evaluation.RootElement.GetProperty("accuracy").GetDouble());
        Compare(Fixtures.Require($"{Folder}/contrastive/final/adapter_model.safetensors"), Path.Combine(run, "adapter", "adapter_model.safetensors"));
    }

    private static IEnumerable<string> Lines(JsonElement run)
    {
        foreach (JsonElement pair in run.GetProperty("batches").EnumerateArray().SelectMany(b => b.GetProperty("pairs").EnumerateArray()))
        {
            yield return JsonSerializer.Serialize(new
            {
                anchor = run.GetProperty("anchors")[pair.GetInt32()].GetString(),
                positive = run.GetProperty("positives")[pair.GetInt32()].GetString(),
            });
        }
    }

    private static void Compare(string expectedFile, string actualFile)
    {
        using SafetensorsFile expected = SafetensorsFile.Open(expectedFile);
        using SafetensorsFile actual = SafetensorsFile.Open(actualFile);
        Assert.HasCount(expected.Tensors.Count, actual.Tensors);
        foreach ((string name, ITensor tensor) in expected.Tensors)
        {
            // The exported module wraps the encoder as "m".
            string wrapped = name.Replace("base_model.model.", "base_model.model.m.", StringComparison.Ordinal);
            TensorAssert.AreClose(tensor.ToFloats(), actual.Tensors[wrapped].ToFloats(), 5e-3, name);
        }
    }
}
