using System.Text.Json;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Folders that hold a model with its companions: of ONNX Runtime GenAI, of Optimum, or a plain one.</summary>
public static class ModelFolder
{
    private const string GenAiConfig = "genai_config.json";
    private const string HuggingFaceConfig = "config.json";
    private const long MaximumConfigBytes = 16 << 20;

    // What Optimum and the Hugging Face hub call the file to train; a merged decoder holds the branch without cache.
    private static readonly string[] FileNames = ["model.onnx", "decoder_model_merged.onnx", "decoder_model.onnx"];

    /// <summary>Names of the files that tokenizers are kept in; the first one found says most.</summary>
    public static IReadOnlyList<string> TokenizerNames { get; } = ["tokenizer.json", "merges.txt", "tokenizer.model", "spiece.model", "vocab.txt", "tokenizer.bin"];

    /// <summary>The model's file: the path itself unless it is a folder.</summary>
    /// <param name="path">
    /// An ONNX file, or a folder: with genai_config.json, whose decoder is taken; else with model.onnx, decoder_model_merged.onnx
    /// or decoder_model.onnx, in itself or in its folder <c>onnx</c>; else with a single ONNX file.
    /// </param>
    /// <exception cref="ModelFormatException">The folder holds no model, or several without a known name, or its genai_config.json is damaged.</exception>
    public static string Resolve(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (!Directory.Exists(path))
        {
            return path;
        }

        if (GenAiModel(path) is { } named)
        {
            return named;
        }

        string[] folders = [path, Path.Combine(path, "onnx")];
        string[] candidates = [.. folders.SelectMany(f => FileNames.Select(n => Path.Combine(f, n))).Where(File.Exists)];
        if (candidates.Length > 0)
        {
            return candidates[0];
        }

        string[] models = [.. folders.Where(Directory.Exists).SelectMany(f => Directory.EnumerateFiles(f, "*.onnx")).Order(StringComparer.Ordinal)];
        return models switch
        {
            [var only] => only,
            [] => throw new ModelFormatException($"The folder '{path}' holds no ONNX model; {GenAiConfig}, {string.Join(", ", FileNames)} and a folder 'onnx' are looked for."),
            _ => throw new ModelFormatException($"The folder '{path}' holds several ONNX models and none of the names {string.Join(", ", FileNames)}: {string.Join(", ", models.Select(Path.GetFileName))}. Give the file."),
        };
    }

    /// <summary>The folder itself if it holds a tokenizer; null if it holds none or the path is no folder.</summary>
    public static string? Tokenizer(string path) =>
        Directory.Exists(path) && TokenizerNames.Any(n => File.Exists(Path.Combine(path, n))) ? path : null;

    /// <summary>The architecture that config.json or genai_config.json beside a model names; null where neither does.</summary>
    /// <param name="modelPath">The ONNX file.</param>
    internal static string? ModelType(string modelPath)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(modelPath))!;
        return Text(Path.Combine(folder, HuggingFaceConfig), "model_type") ?? Text(Path.Combine(folder, GenAiConfig), "model", "type");
    }

    // A file of another program that happens to lie there says nothing about the model.
    private static string? Text(string file, params ReadOnlySpan<string> keys)
    {
        if (new FileInfo(file) is not { Exists: true, Length: < MaximumConfigBytes })
        {
            return null;
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            JsonElement element = document.RootElement;
            foreach (string key in keys)
            {
                if (element.ValueKind != JsonValueKind.Object || !element.TryGetProperty(key, out element))
                {
                    return null;
                }
            }

            return element.ValueKind == JsonValueKind.String ? element.GetString() : null;
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static string? GenAiModel(string folder)
    {
        string config = Path.Combine(folder, GenAiConfig);
        if (!File.Exists(config))
        {
            return null;
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(config));
            string? name = document.RootElement.GetProperty("model").GetProperty("decoder").GetProperty("filename").GetString();
            string file = Path.Combine(folder, name ?? "");
            return !string.IsNullOrEmpty(name) && name == Path.GetFileName(name) && File.Exists(file)
                ? file
                : throw new ModelFormatException($"'{config}' names the decoder '{name}', which is no file of its folder.");
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new ModelFormatException($"'{config}' does not name the decoder's file (model, decoder, filename): {e.Message} Give the ONNX file itself, or mend the configuration.");
        }
    }
}
