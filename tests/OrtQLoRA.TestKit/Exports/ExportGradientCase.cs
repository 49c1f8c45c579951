using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;

namespace OrtQLoRA.TestKit.Exports;

/// <summary>One of the models under <c>fixtures/exports</c> as public exporters write them, with PyTorch's loss and gradients.</summary>
public sealed class ExportGradientCase : IDisposable
{
    private readonly string _folder;
    private readonly JsonDocument _json;
    private readonly SafetensorsFile _data;
    private readonly SafetensorsFile? _gradients;

    private ExportGradientCase(string name, string folder)
    {
        Name = name;
        _folder = folder;
        _json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "case.json")));
        _data = SafetensorsFile.Open(Path.Combine(folder, "data.safetensors"));
        string gradients = Path.Combine(folder, "grads.safetensors");
        _gradients = File.Exists(gradients) ? SafetensorsFile.Open(gradients) : null;
    }

    /// <summary>Names of all cases, in ordinal order; one name that no folder has where the fixtures are absent.</summary>
    public static IEnumerable<string> AllNames => Fixtures.Files("case.json", "exports").Select(f => Path.GetFileName(Path.GetDirectoryName(f)) is { Length: > 0 } name ? name : f);

    /// <summary>
    /// Names of the cases with gradients whose models use ONNX's own operators alone, without those that are fused
    /// attention or control flow.
    /// </summary>
    public static IEnumerable<string> PlainNames => Fixtures.IsAvailable ? AllNames.Where(IsPlain) : AllNames;

    /// <summary>Name of the folder.</summary>
    public string Name { get; }

    /// <summary>Kind of the loss: causal_lm, cross_entropy or mse.</summary>
    public string LossKind => _json.RootElement.GetProperty("loss").GetProperty("kind").GetString()!;

    /// <summary>Whether the model is float16, whose own rounding exceeds the tolerances of float models.</summary>
    public bool IsHalf => _json.RootElement.GetProperty("dtype").GetString() == "float16";

    /// <summary>The token whose row PyTorch's embedding may leave without a gradient (padding_idx), which ONNX does not record.</summary>
    public long? PaddingToken => _json.RootElement.TryGetProperty("source_config", out JsonElement config)
        && config.TryGetProperty("pad_token_id", out JsonElement token) && token.ValueKind == JsonValueKind.Number ? token.GetInt64() : null;

    /// <summary>The output that the loss looks at: the first one listed.</summary>
    public string LossOutput => _json.RootElement.GetProperty("outputs").EnumerateObject().First().Name;

    /// <summary>PyTorch's gradients by initializer, in its orientation; empty for forward-only cases.</summary>
    public IReadOnlyDictionary<string, ITensor> Gradients => _gradients?.Tensors ?? new Dictionary<string, ITensor>();

    /// <summary>Opens a case; a test that asks for an absent one is reported as skipped.</summary>
    public static ExportGradientCase Open(string name) => new(name, Fixtures.Require("exports/" + name));

    /// <summary>PyTorch's loss of a case (0 or 1); null if it is not recorded.</summary>
    public double? LossValue(int number) =>
        _json.RootElement.TryGetProperty(number == 0 ? "loss_value" : "loss_value_case1", out JsonElement value) && value.ValueKind == JsonValueKind.Number
            ? value.GetDouble()
            : null;

    /// <summary>Reads the model as it was exported.</summary>
    public OnnxModel ReadModel() => OnnxModelReader.Read(Path.Combine(_folder, _json.RootElement.GetProperty("model_file").GetString()!));

    /// <summary>Inputs of a case (0 or 1) by name.</summary>
    public Dictionary<string, ITensor> Inputs(int number) => Part($"case{number}.input.");

    /// <summary>PyTorch's outputs of a case by name.</summary>
    public Dictionary<string, ITensor> Outputs(int number) => Part($"case{number}.output.");

    /// <summary>What the loss of a case is taken against; null if the case is forward only.</summary>
    public ITensor? Label(int number) => Part($"case{number}.label.").Values.SingleOrDefault();

    /// <inheritdoc/>
    public void Dispose()
    {
        _json.Dispose();
        _data.Dispose();
        _gradients?.Dispose();
    }

    /// <inheritdoc/>
    public override string ToString() => Name;

    private static bool IsPlain(string name)
    {
        using ExportGradientCase exported = Open(name);
        string[] operators = [.. exported._json.RootElement.GetProperty("operators").EnumerateObject().Select(o => o.Name)];
        return exported.Gradients.Count > 0
            && !operators.Any(o => o.StartsWith("com.microsoft::", StringComparison.Ordinal) || o is "ai.onnx::Attention" or "ai.onnx::RotaryEmbedding" or "ai.onnx::If");
    }

    private Dictionary<string, ITensor> Part(string prefix) => _data.Tensors
        .Where(t => t.Key.StartsWith(prefix, StringComparison.Ordinal))
        .ToDictionary(t => t.Key[prefix.Length..], t => t.Value);
}
