using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.TestKit;
using OrtQLoRA.TestKit.Exports;

namespace OrtQLoRA.Cli.Tests.Conformance;

/// <summary>
/// Trains every exported model through the command line: 20 LoRA steps lower the loss, the first of which is PyTorch's, and
/// the merged export computes in a plain session what was trained.
/// </summary>
[TestClass]
public sealed class ExportedTrainingTests
{
    private const string DifferencePrefix = "Differs from the trained graph by ";

    /// <summary>Rounding of activations to 11 bits.</summary>
    private const double HalfTolerance = 2e-3;

    /// <summary>
    /// Rounding of activations to 8 bits: by default ONNX Runtime does so in front of integer weights, here the heads that are not
    /// adapted.
    /// </summary>
    private const double IntegerTolerance = 1e-2;

    public static IEnumerable<object[]> Models => ExportGradientCase.AllNames.Select(n => new object[] { n });

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void Train_ExportedModel_MergesIntoWhatWasTrained(string name)
    {
        string fixture = Fixtures.Require($"exports/{name}");
        using JsonDocument facts = JsonDocument.Parse(File.ReadAllText(Path.Combine(fixture, "case.json")));
        using TemporaryFolder folder = new();

        // The classifier of these is the only linear layer, which all-linear leaves out.
        string targets = name.Contains("_cnn_", StringComparison.Ordinal) ? "fc" : "all-linear";
        (double[] losses, double difference) = TrainAndMerge(folder, fixture, facts.RootElement, "--targets", targets, "--max-steps", "20");

        bool isHalf = facts.RootElement.GetProperty("dtype").GetString() == "float16";
        bool isForwardOnly = !File.Exists(Path.Combine(fixture, "grads.safetensors"));
        double expected = facts.RootElement.GetProperty("loss_value").GetDouble();
        Assert.AreEqual(expected, losses[0], expected * (isForwardOnly ? 1e-2 : 1e-4), "First loss.");
        Assert.IsLessThan(0.95 * losses[0], losses[^1], "20 steps should lower the loss.");
        Assert.IsLessThan(isHalf ? HalfTolerance : name is "weight_only_qdq_llama" or "genai_llama_int4_cpu" ? IntegerTolerance : 1e-5, difference);
    }

    [TestMethod]
    [DataRow("ts17_llama_gqa")]
    [DataRow("optimum_llama_with_past")]
    [DataRow("dyn18_roberta")]
    public void Train_QuantizedBase_MergesIntoWhatWasTrained(string name)
    {
        string fixture = Fixtures.Require($"exports/{name}");
        using JsonDocument facts = JsonDocument.Parse(File.ReadAllText(Path.Combine(fixture, "case.json")));
        using TemporaryFolder folder = new();

        (_, double difference) = TrainAndMerge(folder, fixture, facts.RootElement, "--quant", "eetq", "--max-steps", "3");

        Assert.IsLessThan(1e-5, difference);
    }

    /// <summary>Models without recorded data, as ONNX Runtime's optimizer and model builder write them.</summary>
    [TestMethod]
    [DataRow("genai_tiny_gpt2_fp32_past", 1e-5)]
    [DataRow("genai_tiny_qwen35_fp16_gqa", HalfTolerance)]
    [DataRow("stories260k", 1e-5)]
    public void Train_DecoderWithoutData_MergesIntoWhatWasTrained(string name, double tolerance)
    {
        string model = Fixtures.Require($"models/{name}.onnx");
        using TemporaryFolder folder = new();
        string data = folder.Write("data.jsonl", string.Join('\n', Enumerable.Range(0, 4).Select(row => $$"""{"input_ids": [{{string.Join(", ", Enumerable.Range(0, 10).Select(i => 3 + (((row * 31) + (i * i * 7)) % 57)))}}]}""")) + "\n");

        (double[] losses, double difference) = TrainAndMerge(folder, model, data, "--task", "causal-lm", "--batch", "4", "--max-steps", "20");

        Assert.IsLessThan(losses[0], losses[^1], "20 steps should lower the loss.");
        Assert.IsLessThan(tolerance, difference);
    }

    private static (double[] Losses, double Difference) TrainAndMerge(TemporaryFolder folder, string fixture, JsonElement facts, params string[] options)
    {
        (string task, string[] lines) = Data(fixture, facts.GetProperty("loss").GetProperty("kind").GetString()!);
        string data = folder.Write("data.jsonl", string.Join('\n', lines) + "\n");
        return TrainAndMerge(
            folder, Path.Combine(fixture, facts.GetProperty("model_file").GetString()!), data,
            ["--task", task, "--loss-output", facts.GetProperty("outputs").EnumerateObject().First().Name, "--batch", $"{lines.Length}", .. options]);
    }

    private static (double[] Losses, double Difference) TrainAndMerge(TemporaryFolder folder, string model, string data, params string[] options)
    {
        string run = folder.File("run");
        CommandLine.Succeed([
            "train", "--model", model, "--data", data, "--out", run, "--rank", "4", "--lr", "0.01", "--no-shuffle", "--no-report", "--no-tensorboard", .. options]);
        string export = CommandLine.Succeed("export", "--run", run, "--to", "merged", "--output", folder.File("merged.onnx"));

        double[] losses = [.. File.ReadLines(Path.Combine(run, "metrics.jsonl")).Select(l => JsonDocument.Parse(l).RootElement.GetProperty("loss").GetDouble())];
        string difference = export.Split('\n').Single(l => l.StartsWith(DifferencePrefix, StringComparison.Ordinal))[DifferencePrefix.Length..];
        return (losses, double.Parse(difference[..difference.IndexOf(' ', StringComparison.Ordinal)], CultureInfo.InvariantCulture));
    }

    /// <summary>One line for each row of case0, every input under its name.</summary>
    private static (string Task, string[] Lines) Data(string fixture, string loss)
    {
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(fixture, "data.safetensors"));
        const string Input = "case0.input.";
        KeyValuePair<string, ITensor> label = file.Tensors.First(t => t.Key.StartsWith("case0.label.", StringComparison.Ordinal));
        string task = loss switch
        {
            "causal_lm" => "causal-lm",
            "mse" => "regression",
            _ => label.Value.Dims.Length == 1 ? "sequence-classification"
                : file.Tensors.Keys.Any(k => k.Contains("decoder", StringComparison.Ordinal)) ? "sequence-to-sequence"
                : "token-classification",
        };
        List<string> lines = [];
        for (int row = 0; row < label.Value.Dims[0]; row++)
        {
            JsonObject line = [];
            foreach ((string key, ITensor tensor) in file.Tensors.Where(t => t.Key.StartsWith(Input, StringComparison.Ordinal) && t.Value.Dims[0] == label.Value.Dims[0] && !t.Key.Contains("past", StringComparison.Ordinal)))
            {
                line[key[Input.Length..]] = Row(tensor, row);
            }

            line[task switch { "sequence-classification" => "label", "regression" => "target", _ => "labels" }] = Row(label.Value, row);
            lines.Add(line.ToJsonString());
        }

        return (task, [.. lines]);
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
