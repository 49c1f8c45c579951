using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;

namespace OrtQLoRA.Cli.Tests;

/// <summary><c>--quant-exclude</c>: layers that stay as they are, in training and in whatever is made of its result.</summary>
[TestClass]
public sealed class QuantExcludeTests
{
    private const string Kept = "q_proj,down_proj";

    [TestMethod]
    [DataRow("default", "eetq")]
    [DataRow("loftq", "eetq")]
    [DataRow("pissa", "eetq")]
    [DataRow("default", "eetq-fp16")]
    public void Export_RunWithKeptLayers_IsWhatWasTrained(string start, string quantization)
    {
        using TrainingFixture fixture = new();
        string data = fixture.Data("eval.jsonl", 6, start: 20);
        string run = fixture.Train("run", "--quant", quantization, "--quant-exclude", Kept, "--init-lora-weights", start, "--max-steps", "3", "--eval-data", data);
        string adapter = Path.Combine(run, "adapter");
        Dictionary<string, string[]> exports = new()
        {
            ["run.onnx"] = ["--run", run],
            ["pair.onnx"] = ["--model", fixture.Model, "--adapter", adapter, "--quant", quantization, "--quant-exclude", Kept],
        };

        using JsonDocument trained = JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "eval.json")));
        double expected = trained.RootElement.GetProperty("loss").GetDouble();
        foreach ((string name, string[] source) in exports)
        {
            string file = fixture.Folder.File(name);
            CommandLine.Succeed(["export", "--to", "merged", "--output", file, .. source]);
            using JsonDocument merged = JsonDocument.Parse(CommandLine.Succeed("eval", "--model", file, "--data", data, "--json"));
            Assert.AreEqual(expected, merged.RootElement.GetProperty("loss").GetDouble(), 1e-5 * expected, name);
        }
    }

    [TestMethod]
    public void Train_LoftqOnKeptLayer_StartsAsLoraDoes()
    {
        using TrainingFixture fixture = new();
        string data = fixture.Data("eval.jsonl", 6, start: 20);

        double quantized = StartingLoss(fixture, data, "int8", "--quant", "eetq", "--targets", "q_proj", "--init-lora-weights", "default");
        double kept = StartingLoss(fixture, data, "kept", "--quant", "eetq", "--targets", "q_proj", "--quant-exclude", "q_proj", "--init-lora-weights", "default");
        double loftq = StartingLoss(fixture, data, "loftq", "--quant", "eetq", "--targets", "q_proj", "--quant-exclude", "q_proj", "--init-lora-weights", "loftq");

        Assert.AreEqual(kept, loftq, 1e-6 * kept);
        Assert.AreNotEqual(quantized, kept, 1e-6 * kept);
    }

    [TestMethod]
    public void Export_ToInt8_LeavesKeptLayersInFloats()
    {
        using TrainingFixture fixture = new();
        string run = fixture.Train("run", "--quant", "eetq", "--quant-exclude", Kept, "--max-steps", "1");
        string file = fixture.Folder.File("int8.onnx");

        CommandLine.Succeed("export", "--run", run, "--to", "int8", "--output", file);

        using OnnxModel model = OnnxModelReader.Read(file);
        Assert.AreEqual(2 * 5, model.Graph.Nodes.Count(n => n.Is("DequantizeLinear")));
    }

    [TestMethod]
    public void Train_KeptLayerThatIsNotThere_IsRefusedWithNearMisses()
    {
        using TrainingFixture fixture = new();

        string message = CommandLine.Fail(fixture.Arguments("run", "--quant", "eetq", "--quant-exclude", "q_proj,dwn_proj"));

        StringAssert.Contains(message, "'dwn_proj'");
        StringAssert.Contains(message, "model.layers.0.mlp.down_proj");
        StringAssert.Contains(CommandLine.Fail(fixture.Arguments("run", "--quant-exclude", "q_proj")), "--quant eetq");
    }

    // The loss of the first step, before anything was learnt.
    private static double StartingLoss(TrainingFixture fixture, string data, string name, params string[] flags)
    {
        string run = fixture.Train(name, [.. flags, "--max-steps", "1", "--lr", "0", "--eval-data", data]);
        using JsonDocument json = JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "eval.json")));
        return json.RootElement.GetProperty("loss").GetDouble();
    }
}
