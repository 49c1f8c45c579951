using System.Text.Json;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>Reads optional and required members of a JSON object; a member that is null counts as left out.</summary>
internal static class JsonElementExtensions
{
    public static JsonElement? MemberOrNull(this JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement member) && member.ValueKind != JsonValueKind.Null
            ? member
            : null;

    public static string? StringOrNull(this JsonElement element, string name) =>
        element.MemberOrNull(name) is { ValueKind: JsonValueKind.String } member ? member.GetString() : null;

    public static string StringOr(this JsonElement element, string name, string defaultValue) => element.StringOrNull(name) ?? defaultValue;

    public static bool? BoolOrNull(this JsonElement element, string name) =>
        element.MemberOrNull(name) is { ValueKind: JsonValueKind.True or JsonValueKind.False } member ? member.GetBoolean() : null;

    public static bool BoolOr(this JsonElement element, string name, bool defaultValue) => element.BoolOrNull(name) ?? defaultValue;

    public static int IntOr(this JsonElement element, string name, int defaultValue) =>
        element.MemberOrNull(name) is { ValueKind: JsonValueKind.Number } member && member.TryGetInt32(out int value) ? value : defaultValue;

    /// <exception cref="ModelFormatException">The member is missing or of another kind.</exception>
    public static JsonElement Required(this JsonElement element, string name, JsonValueKind kind, string source) =>
        element.MemberOrNull(name) is { } member && member.ValueKind == kind
            ? member
            : throw new ModelFormatException($"'{source}' is no usable tokenizer.json: '{name}' should be a JSON {kind.ToString().ToLowerInvariant()}, but {(element.MemberOrNull(name) is { } other ? $"is a {other.ValueKind.ToString().ToLowerInvariant()}" : "is missing")}.");
}
