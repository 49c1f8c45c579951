using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Linears;

/// <summary>Names against what PyTorch calls the parameters, in graphs that real exporters wrote.</summary>
[TestClass]
public sealed class ExportDiscoveryTests
{
    // What these files hold has no name of PyTorch's: fused, split or quantized before the names were recorded.
    private static readonly string[] WithoutPyTorchNames = ["dynamic_int8_bert", "static_qdq_bert"];

    public static IEnumerable<object[]> Cases => Fixtures.Files("case.json", "exports").Select(p => new object[] { Path.GetDirectoryName(p)!.Replace('\\', '/') });

    public static IEnumerable<object[]> Bases => ((string[])["llama", "gpt2", "bert"]).Select(b => new object[] { b });

    [TestMethod]
    [DynamicData(nameof(Cases))]
    public void Find_RealExport_NamesEveryParameterAsPyTorch(string folder)
    {
        string path = Fixtures.Require(folder + "/case.json");
        if (WithoutPyTorchNames.Contains(Path.GetFileName(folder)))
        {
            return;
        }

        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
        JsonElement root = document.RootElement;
        using OnnxModel model = OnnxModelReader.Read(Path.Combine(Path.GetDirectoryName(path)!, root.GetProperty("model_file").GetString()!));
        LinearSites sites = LinearFinder.Find(model);
        ILookup<string, ModelParameter> found = sites.Parameters.ToLookup(p => p.Value.Name);
        List<string> faults = [];
        foreach (JsonProperty parameter in root.GetProperty("parameters").EnumerateObject())
        {
            string torch = parameter.Value.GetProperty("torch").GetString()!;
            if (torch.Contains('|') || torch.Contains('[') || parameter.Value.TryGetProperty("offset", out _)
                || IsInsideFusedNode(model, parameter.Name) || IsComputedFrom(parameter.Name, torch))
            {
                continue;
            }

            ModelParameter[] candidates = [.. found[parameter.Name]];
            if (candidates.All(c => !torch.Split(" + ").Contains(c.Name)))
            {
                faults.Add($"{parameter.Name}: '{torch}' expected, '{string.Join(", ", candidates.Select(c => c.Name))}' found");
            }
            else if (candidates.First(c => torch.Split(" + ").Contains(c.Name)) is var c && c.Content.Dims.Length == 2 && c.Content.Dims[0] != c.Content.Dims[1]
                && c.IsTransposed != parameter.Value.GetProperty("transposed").GetBoolean())
            {
                faults.Add($"{parameter.Name} ({torch}): transposed is {c.IsTransposed}");
            }
        }

        foreach (JsonProperty constant in root.GetProperty("unmatched_initializers").EnumerateObject())
        {
            faults.AddRange(found[constant.Name].Where(p => p.WeightOf is null).Select(p => $"{constant.Name} is no parameter, but was named '{p.Name}'"));
        }

        Assert.AreEqual("", string.Join("\n", faults));
    }

    [TestMethod]
    [DynamicData(nameof(Bases))]
    public void Find_PeftBase_FindsEveryParameterWithInitializerAndNodes(string name)
    {
        string folder = Fixtures.Require($"peft/bases/{name}");
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "base.json")));
        foreach (JsonProperty export in document.RootElement.GetProperty("exports").EnumerateObject())
        {
            using OnnxModel model = OnnxModelReader.Read(Path.Combine(folder, export.Name));
            LinearSites sites = LinearFinder.Find(model);
            List<string> faults = [];
            foreach (JsonProperty parameter in export.Value.GetProperty("parameters").EnumerateObject())
            {
                foreach (JsonElement onnx in parameter.Value.GetProperty("onnx").EnumerateArray())
                {
                    string initializer = onnx.GetProperty("initializer").GetString()!;
                    ModelParameter? found = sites.Parameters.FirstOrDefault(p => p.Value.Name == initializer && (p.Name == parameter.Name || IsTied(parameter.Value)));
                    if (found is null)
                    {
                        faults.Add($"{parameter.Name} in {initializer}");
                    }
                    else if (found.WeightOf is { } module)
                    {
                        string[] consumers = [.. onnx.GetProperty("consumers").EnumerateArray().Select(c => c.GetProperty("node").GetString()!)];
                        bool transposed = onnx.GetProperty("transposed").GetBoolean();
                        if (!module.Sites.Any(s => consumers.Contains(s.Node.Name) || s.WeightChain.Any(n => consumers.Contains(n.Name)))
                            || (found.IsTransposed != transposed && found.Content.Dims[0] != found.Content.Dims[1]))
                        {
                            faults.Add($"{parameter.Name}: nodes {string.Join(", ", consumers)}, transposed {transposed}");
                        }
                    }
                }
            }

            Assert.AreEqual("", string.Join("\n", faults), export.Name);
        }
    }

    // Rows that the exporter looked up itself, and stacks of experts: tensors without a name of their own.
    private static bool IsComputedFrom(string initializer, string torch) =>
        initializer == "embedding" || torch.Contains(".experts.", StringComparison.Ordinal) || torch.Contains("decoder.embed_positions", StringComparison.Ordinal);

    private static bool IsTied(JsonElement parameter) => parameter.GetProperty("onnx").GetArrayLength() > 1;

    private static bool IsInsideFusedNode(OnnxModel model, string initializer) =>
        model.Graph.TryGetValue(initializer, out Value? value) && value.Uses.Any(u => u.Node.Is("Attention", "com.microsoft") && u.Index == 1);
}
