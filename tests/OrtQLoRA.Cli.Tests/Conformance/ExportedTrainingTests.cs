using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests.Conformance;

/// <summary>
/// Trains exported models of every task through the command line: the first loss is PyTorch's, and the merged export
/// evaluates like the trained graph.
/// </summary>
[TestClass]
public sealed class ExportedTrainingTests
{
    [TestMethod]
    [DataRow("ts17_gpt2", "causal-lm", "none", true)]
    [DataRow("ts17_llama_gqa", "causal-lm", "eetq", false)]
    [DataRow("optimum_llama_with_past", "causal-lm", "eetq", false)]
    [DataRow("dyn18_phi3_packed", "causal-lm", "none", true)]
    [DataRow("ts17_qwen2_bias_tied", "causal-lm", "none", true)]
    [DataRow("ts17_distilbert", "sequence-classification", "none", true)]
    [DataRow("dyn18_roberta", "sequence-classification", "eetq", false)]
    [DataRow("ts17_electra_token", "token-classification", "none", true)]
    [DataRow("dyn18_mlp", "regression", "none", true)]
    [DataRow("dyn20_vit_sdpa", "sequence-classification", "none", true)]
    public void Train_ExportedModel_MergesIntoWhatWasTrained(string name, string task, string quantization, bool comparesLoss)
    {
        string fixture = Fixtures.Require($"exports/{name}");
        using TemporaryFolder folder = new();
        string[] lines = [.. Lines(fixture, task)];
        string data = folder.Write("data.jsonl", string.Join('\n', lines) + "\n");
        string model = Path.Combine(fixture, "model.onnx");
        string run = folder.File("run");
        string merged = folder.File("merged.onnx");

        CommandLine.Succeed(
            "train", "--model", model, "--data", data, "--eval-data", data, "--out", run, "--task", task, "--quant", quantization,
            "--rank", "4", "--lr", "0.01", "--batch", $"{lines.Length}", "--max-steps", "3", "--no-shuffle");
        CommandLine.Succeed("export", "--run", run, "--to", "merged", "--output", merged);

        using JsonDocument trained = JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "eval.json")));
        using JsonDocument exported = JsonDocument.Parse(CommandLine.Succeed("eval", "--model", merged, "--data", data, "--task", task, "--json"));
        double loss = trained.RootElement.GetProperty("loss").GetDouble();
        Assert.AreEqual(loss, exported.RootElement.GetProperty("loss").GetDouble(), 1e-4 * loss);
        if (comparesLoss)
        {
            using JsonDocument facts = JsonDocument.Parse(File.ReadAllText(Path.Combine(fixture, "case.json")));
            using JsonDocument first = JsonDocument.Parse(File.ReadLines(Path.Combine(run, "metrics.jsonl")).First());
            double expected = facts.RootElement.GetProperty("loss_value").GetDouble();
            Assert.AreEqual(expected, first.RootElement.GetProperty("loss").GetDouble(), 1e-4 * expected);
        }
    }

    /// <summary>One line for each row of case0, every input under its name.</summary>
    private static IEnumerable<string> Lines(string fixture, string task)
    {
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(fixture, "data.safetensors"));
        const string Input = "case0.input.";
        KeyValuePair<string, ITensor> label = file.Tensors.First(t => t.Key.StartsWith("case0.label.", StringComparison.Ordinal));
        List<string> lines = [];
        for (int row = 0; row < label.Value.Dims[0]; row++)
        {
            JsonObject line = [];
            foreach ((string key, ITensor tensor) in file.Tensors.Where(t => t.Key.StartsWith(Input, StringComparison.Ordinal) && !t.Key.Contains("past", StringComparison.Ordinal)))
            {
                line[key[Input.Length..]] = Row(tensor, row);
            }

            line[task switch { "sequence-classification" => "label", "regression" => "target", _ => "labels" }] = Row(label.Value, row);
            lines.Add(line.ToJsonString());
        }

        return lines;
    }

    private static JsonNode Row(ITensor tensor, int row)
    {
        JsonNode[] numbers = tensor.ElementType.IsFloatingPoint()
            ? Array.ConvertAll(tensor.ToFloats(), v => (JsonNode)JsonValue.Create(v))
            : Array.ConvertAll(tensor.ToInt64s(), v => (JsonNode)JsonValue.Create(v));
        int length = numbers.Length / (int)tensor.Dims[0];
        int next = row * length;
        return Nest(numbers, [.. tensor.Dims.Skip(1)], ref next);
    }

    private static JsonNode Nest(JsonNode[] numbers, long[] dims, ref int next)
    {
        if (dims.Length == 0)
        {
            return numbers[next++];
        }

        JsonArray list = [];
        for (long i = 0; i < dims[0]; i++)
        {
            list.Add(Nest(numbers, dims[1..], ref next));
        }

        return list;
    }
}
