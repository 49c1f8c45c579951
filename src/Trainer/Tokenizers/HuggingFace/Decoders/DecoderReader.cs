using System.Globalization;
using System.Text;
using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.PreTokenizers;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Decoders;

/// <summary>Reads the <c>decoder</c> of a tokenizer.json: steps that turn tokens into text; the results are joined.</summary>
internal static class DecoderReader
{
    private static readonly Dictionary<string, Func<JsonElement, string, Func<IReadOnlyList<string>, IReadOnlyList<string>>>> Kinds = new(StringComparer.Ordinal)
    {
        ["BPEDecoder"] = (json, _) => ReadSuffix(json.StringOr("suffix", "</w>")),
        ["ByteFallback"] = (_, _) => ByteTokens,
        ["ByteLevel"] = (_, _) => ByteLevel,
        ["Fuse"] = (_, _) => tokens => [string.Concat(tokens)],
        ["Metaspace"] = (json, _) => ReadMetaspace(json),
        ["Replace"] = ReadReplace,
        ["Sequence"] = ReadSequence,
        ["Strip"] = (json, _) => ReadStrip(json.StringOr("content", " "), json.IntOr("start", 0), json.IntOr("stop", 0)),
        ["WordPiece"] = (json, _) => WordPiece(json.StringOr("prefix", "##"), json.BoolOr("cleanup", true)),
    };

    /// <summary>The steps as one; a null element joins the tokens with spaces.</summary>
    public static Func<IReadOnlyList<string>, IReadOnlyList<string>> Read(JsonElement? json, string source) => json is not { } element
        ? tokens => [string.Join(' ', tokens)]
        : ComponentTable.Find(Kinds, "decoder", element, source)(element, source);

    /// <summary>Joins words with spaces and continued words without.</summary>
    public static Func<IReadOnlyList<string>, IReadOnlyList<string>> WordPiece(string prefix, bool cleanup) => tokens =>
    [
        .. tokens.Select((token, i) =>
        {
            string text = i == 0 ? token : token.StartsWith(prefix, StringComparison.Ordinal) ? token[prefix.Length..] : " " + token;
            return cleanup ? CleanUp(text) : text;
        }),
    ];

    private static Func<IReadOnlyList<string>, IReadOnlyList<string>> ReadSequence(JsonElement json, string source)
    {
        Func<IReadOnlyList<string>, IReadOnlyList<string>>[] steps =
            [.. json.Required("decoders", JsonValueKind.Array, source).EnumerateArray().Select(d => Read(d, source))];
        return tokens => steps.Aggregate(tokens, (t, step) => step(t));
    }

    private static Func<IReadOnlyList<string>, IReadOnlyList<string>> ReadReplace(JsonElement json, string source)
    {
        Func<string, string> replace = TextPattern.Read(json, source).Replacing(json.StringOr("content", ""));
        return tokens => [.. tokens.Select(replace)];
    }

    /// <summary>Text of tokens whose bytes are spelled as characters.</summary>
    public static IReadOnlyList<string> ByteLevel(IReadOnlyList<string> tokens)
    {
        List<byte> bytes = [];
        foreach (string token in tokens)
        {
            ByteLevelAlphabet.Read(token, bytes);
        }

        return [Encoding.UTF8.GetString([.. bytes])];
    }

    /// <summary>Tokens of bytes, <c>&lt;0x0A&gt;</c>, side by side as the text that they spell.</summary>
    public static IReadOnlyList<string> ByteTokens(IReadOnlyList<string> tokens)
    {
        List<string> result = [];
        List<byte> bytes = [];
        foreach (string token in tokens.Append(""))
        {
            if (token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
                && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value))
            {
                bytes.Add(value);
                continue;
            }

            if (bytes.Count > 0)
            {
                result.Add(Encoding.UTF8.GetString([.. bytes]));
                bytes.Clear();
            }

            result.Add(token);
        }

        return result;
    }

    private static Func<IReadOnlyList<string>, IReadOnlyList<string>> ReadMetaspace(JsonElement json)
    {
        string replacement = json.StringOr("replacement", "\u2581");
        bool prepended = json.StringOr("prepend_scheme", json.BoolOr("add_prefix_space", true) ? "always" : "never") != "never";
        return tokens =>
        [
            .. tokens.Select((token, i) =>
            {
                string text = token.Replace(replacement, " ", StringComparison.Ordinal);
                return prepended && i == 0 && text.StartsWith(' ') ? text[1..] : text;
            }),
        ];
    }

    private static Func<IReadOnlyList<string>, IReadOnlyList<string>> ReadStrip(string content, int start, int stop) => tokens =>
    [
        .. tokens.Select(token =>
        {
            int from = 0;
            while (from < start && from < token.Length && content.Contains(token[from], StringComparison.Ordinal))
            {
                from++;
            }

            int to = token.Length;
            while (token.Length - to < stop && to > from && content.Contains(token[to - 1], StringComparison.Ordinal))
            {
                to--;
            }

            return token[from..to];
        }),
    ];

    private static Func<IReadOnlyList<string>, IReadOnlyList<string>> ReadSuffix(string suffix) => tokens =>
        [.. tokens.Select((token, i) => token.Replace(suffix, i == tokens.Count - 1 ? "" : " ", StringComparison.Ordinal))];

    // Takes back the spaces that WordPiece's splitting put before English punctuation and contractions.
    private static string CleanUp(string text)
    {
        foreach ((string spaced, string closed) in new[]
        {
            (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
        })
        {
            text = text.Replace(spaced, closed, StringComparison.Ordinal);
        }

        return text;
    }
}
