using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using OrtQLoRA.Graph.IO;

namespace OrtQLoRA.Graph.Export.Runs;

/// <summary>What a run remembers of the model it was trained on: <c>base.json</c> in the run folder.</summary>
/// <param name="Model">Full path of the ONNX file.</param>
/// <param name="Quantization">Name of the format of its frozen weights, or <c>none</c>.</param>
/// <param name="BaseWeights">Full path of the checkpoint that supplied the weights; null for the model's own.</param>
/// <param name="Hash">Hash of the weights, see <see cref="WeightHash"/>.</param>
public sealed record BaseModelRecord(
    [property: JsonPropertyName("model")] string Model,
    [property: JsonPropertyName("quant")] string Quantization,
    [property: JsonPropertyName("base-weights")] string? BaseWeights,
    [property: JsonPropertyName("hash")] string Hash)
{
    /// <summary>Linear layers that were not quantized, in the form of <see cref="Adapters.Targets.ModuleSelector"/>; null for none.</summary>
    [JsonPropertyName("quant-exclude")]
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public JsonNode? KeptModules { get; init; }

    /// <summary>Name of the file in a run folder.</summary>
    public const string FileName = "base.json";

    /// <summary>Value of <see cref="Quantization"/> for float weights.</summary>
    public const string NotQuantized = "none";

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, NewLine = "\n" };

    /// <summary>Writes the record into a run folder.</summary>
    /// <exception cref="FileWriteException">The file cannot be written.</exception>
    public void Write(string runFolder) =>
        AtomicFile.Write(Path.Combine(runFolder, FileName), stream => JsonSerializer.Serialize(stream, this, Indented));

    /// <summary>Reads the record of a run.</summary>
    /// <exception cref="ConfigurationException">It is not there or is damaged.</exception>
    public static BaseModelRecord Read(string runFolder)
    {
        string path = Path.Combine(runFolder, FileName);
        if (!File.Exists(path))
        {
            throw new ConfigurationException(
                $"'{runFolder}' is no run folder, or its training never started: it has no {FileName}, which says what model was trained. Pass the folder given to train as --out, or --model and --adapter.");
        }

        try
        {
            BaseModelRecord? record = JsonSerializer.Deserialize<BaseModelRecord>(File.ReadAllText(path));
            return record is { Model: not null, Quantization: not null, Hash: not null }
                ? record
                : throw new ConfigurationException($"'{path}' lacks model, quant or hash. Restore the file, or pass --model and --adapter.");
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"'{path}' cannot be read: {e.Message} Restore the file, or pass --model and --adapter.");
        }
    }
}
