using System.Globalization;
using System.Text.Json;
using OrtQLoRA.Graph.Models;

namespace OrtQLoRA.Trainer.Generation;

/// <summary>What a graph does not say about its decoder: from the model's metadata, else from config.json or genai_config.json beside it.</summary>
/// <param name="ContextLength">The longest sequence it takes, or null where nothing says.</param>
/// <param name="HeadSize">The width of one attention head, or null where nothing says.</param>
internal sealed record ModelSettings(int? ContextLength, int? HeadSize)
{
    private static readonly string[] LengthKeys = [LlamaModelOptions.ContextLengthKey, "n_positions", "n_ctx", "seq_length"];

    /// <param name="metadata">The model's metadata.</param>
    /// <param name="modelPath">The model's file.</param>
    public static ModelSettings Read(IReadOnlyDictionary<string, string> metadata, string modelPath)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(modelPath))!;
        JsonElement config = ReadFile(Path.Combine(folder, "config.json"));
        JsonElement genai = Member(ReadFile(Path.Combine(folder, "genai_config.json")), "model");
        int? stated = metadata.TryGetValue(LlamaModelOptions.ContextLengthKey, out string? text)
            && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int length) && length > 0 ? length : null;
        return new ModelSettings(
            stated ?? LengthKeys.Select(key => Number(config, key)).FirstOrDefault(n => n is not null) ?? Number(genai, "context_length"),
            Number(config, "head_dim") ?? Number(Member(genai, "decoder"), "head_size"));
    }

    private static JsonElement Member(JsonElement element, string key) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(key, out JsonElement member) ? member : default;

    private static int? Number(JsonElement element, string key) =>
        Member(element, key) is { ValueKind: JsonValueKind.Number } value && value.TryGetInt32(out int number) && number > 0 ? number : null;

    private static JsonElement ReadFile(string path)
    {
        if (!File.Exists(path))
        {
            return default;
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            return document.RootElement.Clone();
        }
        catch (JsonException)
        {
            // A file of another program that happens to lie there says nothing about the model.
            return default;
        }
    }
}
