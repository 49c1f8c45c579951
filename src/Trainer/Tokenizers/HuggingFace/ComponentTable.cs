using System.Text.Json;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>Looks up the reader of one component of a tokenizer.json by its <c>type</c>.</summary>
internal static class ComponentTable
{
    /// <exception cref="ModelFormatException">No reader has the type.</exception>
    public static T Find<T>(Dictionary<string, T> kinds, string role, JsonElement json, string source)
    {
        string? type = json.StringOrNull("type");
        return type is not null && kinds.TryGetValue(type, out T? reader)
            ? reader
            : throw new ModelFormatException(
                $"'{source}' asks for a {role} of type '{type}', which is not known here; known are {string.Join(", ", kinds.Keys)}. If a SentencePiece tokenizer.model or a vocab.txt lies beside it, give that file.");
    }
}
