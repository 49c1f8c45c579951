using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

/// <summary>Shape inference, folding and dead-node elimination must not change what exported models compute.</summary>
[TestClass]
public sealed class CleanUpOnFixturesTests
{
    private const double Tolerance = 1e-5;

    public static IEnumerable<object[]> Exports => Fixtures.Files("case.json", "exports")
        .Select(f => new object[] { Path.GetDirectoryName(f)!.Replace('\\', '/') });

    [TestMethod]
    [DynamicData(nameof(Exports))]
    public void Run_ExportedModel_KeepsItsOutputs(string folder)
    {
        using JsonDocument facts = JsonDocument.Parse(File.ReadAllText(Fixtures.Require($"{folder}/case.json")));
        if (facts.RootElement.GetProperty("dtype").GetString() != "float32")
        {
            // Half precision has no digits to spare for a comparison after reordering.
            return;
        }

        string file = facts.RootElement.TryGetProperty("model_file", out JsonElement named) ? named.GetString()! : "model.onnx";
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require($"{folder}/{file}"));
        using SafetensorsFile data = SafetensorsFile.Open(Fixtures.Require($"{folder}/data.safetensors"));
        string[] cases = ["case0.input.", "case1.input."];
        Dictionary<string, ITensor>[] feeds = [.. cases.Select(p => Part(data, p)).Where(f => f.Count > 0)];
        IReadOnlyDictionary<string, ITensor>[] before = [.. feeds.Select(f => OrtRunner.Run(model, f))];
        int nodesBefore = model.Graph.AllNodes().Count();

        ConstantFoldingPass folding = new();
        new PassPipeline(new ShapeInferencePass(), folding, new DeadNodeEliminationPass()).Run(model);
        GraphVerifier.Verify(model);
        Assert.IsEmpty(folding.Skipped, string.Join("\n", folding.Skipped));
        Assert.IsLessThanOrEqualTo(nodesBefore, model.Graph.AllNodes().Count());
        Assert.IsFalse(model.Graph.AllNodes().Any(n => n.Is("Constant") && !n.Outputs[0].IsGraphOutput));

        for (int i = 0; i < feeds.Length; i++)
        {
            foreach ((string name, ITensor after) in OrtRunner.Run(model, feeds[i]))
            {
                TensorAssert.AreClose(before[i][name], after, Tolerance, $"{cases[i]}{name}");
            }
        }
    }

    private static Dictionary<string, ITensor> Part(SafetensorsFile data, string prefix) => data.Tensors
        .Where(t => t.Key.StartsWith(prefix, StringComparison.Ordinal))
        .ToDictionary(t => t.Key[prefix.Length..], t => t.Value);
}
