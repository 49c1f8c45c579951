using System.Globalization;
using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Serialization;

namespace OrtQLoRA.Trainer.Generation;

/// <summary>What a graph does not say about its decoder: from the model's metadata, else from config.json or genai_config.json beside it.</summary>
/// <param name="ContextLength">The longest sequence it takes, or null where nothing says.</param>
/// <param name="StatedHeadSize">The width of one attention head, or null where no file says.</param>
/// <param name="ModelPath">The model's file.</param>
internal sealed record ModelSettings(int? ContextLength, int? StatedHeadSize, string ModelPath)
{
    private readonly Lazy<int?> _inferredHeadSize = new(() => InferHeadSize(ModelPath));

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
            Number(config, "head_dim") ?? Number(Member(genai, "decoder"), "head_size"),
            modelPath);
    }

    /// <summary>The width of one attention head as files say it, else as it follows from the graph; null if neither tells.</summary>
    public int? HeadSize => StatedHeadSize ?? _inferredHeadSize.Value;

    // Attention's present keys end in the head size.
    private static int? InferHeadSize(string modelPath)
    {
        using OnnxModel model = OnnxModelReader.Read(modelPath);
        new ShapeInferencePass().Run(model);
        return (int?)model.Graph.AllNodes()
            .Where(n => n.OpType.EndsWith("Attention", StringComparison.Ordinal))
            .Select(n => n.OutputOrNull(1)?.Shape is { Rank: > 3 } present ? present[-1].Value : null)
            .FirstOrDefault(size => size is not null);
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
