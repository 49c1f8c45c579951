using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Adapters.Peft;

/// <summary>One recorded training run of PEFT.</summary>
internal sealed class PeftRun
{
    // Prompts change more than layers, and CorDA's final adapter does not tell by how much its start changed the base; they have
    // tests of their own.
    private static readonly string[] OtherMethods = ["llama/corda_kpm", "llama/prompt_tuning", "llama/prefix_tuning", "llama/adalora"];

    private PeftRun(string name)
    {
        Name = name;
        Folder = Fixtures.Require("peft/" + name);
    }

    public string Name { get; }

    public string Folder { get; }

    public string BaseName => Name[..Name.IndexOf('/')];

    public bool IsQuantized => Name.Contains("/eetq_", StringComparison.Ordinal);

    /// <summary>Names of the runs with an adapter, for DynamicData.</summary>
    public static IEnumerable<object[]> WithAdapter => Fixtures.Files("adapter_config.json", "peft")
        .Select(p => p.Split('/'))
        .Where(p => p is [_, _, _, "start", _])
        .Select(p => $"{p[1]}/{p[2]}")
        .Where(n => !OtherMethods.Contains(n))
        .Select(n => new object[] { n });

    public static PeftRun Open(string name) => new(name);

    public OnnxModel Base(string file = "model.onnx")
    {
        OnnxModel model = OnnxModelReader.Read(Fixtures.Require($"peft/bases/{BaseName}/{file}"));
        new ShapeInferencePass().Run(model);
        return model;
    }

    /// <summary>The base as the run saw it: with dequantized weights where the run was quantized.</summary>
    public OnnxModel TrainingBase(string file = "model.onnx")
    {
        OnnxModel model = Base(file);
        if (IsQuantized)
        {
            // DequantizeLinear along an axis needs no more, but GraphBuilder emits for newer operator sets.
            new WeightQuantizationPass(new EetqFp16Format()).Run(model);
        }

        return model;
    }

    public JsonObject Config(string folder) => (JsonObject)JsonNode.Parse(File.ReadAllText(Path.Combine(Folder, folder, "adapter_config.json")))!;

    public SafetensorsFile Probe() => SafetensorsFile.Open(Path.Combine(Folder, "probe.safetensors"));

    public static ITensor Logits(OnnxModel model, SafetensorsFile probe, IReadOnlyDictionary<string, ITensor>? parameters = null)
    {
        Dictionary<string, ITensor> feeds = new(parameters ?? new Dictionary<string, ITensor>());
        foreach (Value input in model.Graph.RequiredInputs.Where(i => !feeds.ContainsKey(i.Name)))
        {
            feeds[input.Name] = probe.Tensors.TryGetValue(input.Name, out ITensor? tensor)
                ? tensor
                : DenseTensor.Of([.. probe["input_ids"].Dims], new long[probe["input_ids"].ElementCount()]);
        }

        return OrtRunner.Run(model, feeds, GraphOptimizationLevel.ORT_ENABLE_BASIC)["logits"];
    }

    /// <summary>Compares configurations as PEFT does: target_modules are a set.</summary>
    public static void AssertSameConfig(JsonObject expected, JsonObject actual, string message)
    {
        CollectionAssert.AreEqual(
            expected.Select(p => p.Key).Order(StringComparer.Ordinal).ToArray(), actual.Select(p => p.Key).Order(StringComparer.Ordinal).ToArray(), message);
        foreach ((string key, JsonNode? value) in expected)
        {
            Assert.AreEqual(Text(key, value), Text(key, actual[key]), $"{message}: {key}");
        }
    }

    private static string Text(string key, JsonNode? node) => node switch
    {
        null => "null",
        JsonArray array when key is "target_modules" or "modules_to_save" or "exclude_modules" => string.Join(",", array.Select(e => e!.ToJsonString()).Order(StringComparer.Ordinal)),
        JsonValue value when value.GetValueKind() == JsonValueKind.Number => value.GetValue<JsonElement>().GetDouble().ToString(System.Globalization.CultureInfo.InvariantCulture),
        JsonObject table => string.Join(",", table.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => $"{p.Key}: {Text(p.Key, p.Value)}")),
        _ => node.ToJsonString(),
    };
}
