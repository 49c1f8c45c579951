using System.Text;
using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.PreTokenizers;
using OrtQLoRA.Trainer.Tokenizers.Unicode;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Normalizers;

/// <summary>Reads the <c>normalizer</c> of a tokenizer.json: what happens to text before it is split.</summary>
internal static class NormalizerReader
{
    private static readonly Dictionary<string, Func<JsonElement, string, Func<string, string>>> Kinds = new(StringComparer.Ordinal)
    {
        ["ByteLevel"] = (_, _) => ByteLevelAlphabet.Spell,
        ["BertNormalizer"] = (json, _) => ReadBert(json).Normalize,
        ["Lowercase"] = (_, _) => BertNormalizer.LowerCase,
        ["NFC"] = (_, _) => text => UnicodeNormalizer.Normalize(text, NormalizationForm.FormC),
        ["NFD"] = (_, _) => text => UnicodeNormalizer.Normalize(text, NormalizationForm.FormD),
        ["NFKC"] = (_, _) => text => UnicodeNormalizer.Normalize(text, NormalizationForm.FormKC),
        ["Nmt"] = (_, _) => NmtNormalizer.Normalize,
        ["NFKD"] = (_, _) => text => UnicodeNormalizer.Normalize(text, NormalizationForm.FormKD),
        ["Precompiled"] = ReadCharacterMap,
        ["Prepend"] = (json, _) => ReadPrepend(json.StringOr("prepend", "")),
        ["Replace"] = (json, source) => TextPattern.Read(json, source).Replacing(json.StringOr("content", "")),
        ["Sequence"] = ReadSequence,
        ["Strip"] = (json, _) => ReadStrip(json.BoolOr("strip_left", true), json.BoolOr("strip_right", true)),
        // The marks alone go: files put NFD before it.
        ["StripAccents"] = (_, _) => text => string.Concat(text.EnumerateRunes().Where(r => !TextPattern.IsMark(r)).Select(r => r.ToString())),
    };

    /// <summary>The normalization; a null element leaves text as it is.</summary>
    public static Func<string, string> Read(JsonElement? json, string source) => json is not { } element
        ? text => text
        : ComponentTable.Find(Kinds, "normalizer", element, source)(element, source);

    private static BertNormalizer ReadBert(JsonElement json)
    {
        bool lowerCase = json.BoolOr("lowercase", true);
        return new BertNormalizer(
            json.BoolOr("clean_text", true), json.BoolOr("handle_chinese_chars", true), json.BoolOrNull("strip_accents") ?? lowerCase, lowerCase);
    }

    private static Func<string, string> ReadCharacterMap(JsonElement json, string source)
    {
        string encoded = json.StringOr("precompiled_charsmap", "");
        byte[] blob = new byte[encoded.Length];
        return Convert.TryFromBase64String(encoded, blob, out int length)
            ? CharacterMap.Read(blob.AsSpan(0, length), source).Normalize
            : throw new ModelFormatException($"'{source}': the precompiled_charsmap is no base64. Fetch the file again.");
    }

    private static Func<string, string> ReadPrepend(string prefix) => text => text.Length > 0 ? prefix + text : text;

    private static Func<string, string> ReadStrip(bool left, bool right) => text =>
    {
        string result = left ? text.TrimStart() : text;
        return right ? result.TrimEnd() : result;
    };

    private static Func<string, string> ReadSequence(JsonElement json, string source)
    {
        Func<string, string>[] steps = [.. json.Required("normalizers", JsonValueKind.Array, source).EnumerateArray().Select(s => Read(s, source))];
        return text => steps.Aggregate(text, (t, step) => step(t));
    }
}
