using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.PreTokenizers;

/// <summary>Reads the <c>pre_tokenizer</c> of a tokenizer.json: how text is cut into words that tokens do not cross.</summary>
internal static partial class PreTokenizerReader
{
    /// <summary>BERT's splitting: at white space, which goes, and around each punctuation character.</summary>
    public static PreTokenizer Bert { get; } = Cut(BertPattern(), SplitBehavior.Isolated, dropsWhiteSpace: true);

    private static readonly Dictionary<string, Func<JsonElement, string, PreTokenizer>> Kinds = new(StringComparer.Ordinal)
    {
        ["BertPreTokenizer"] = (_, _) => Bert,
        ["ByteLevel"] = (json, _) => ReadByteLevel(json),
        ["CharDelimiterSplit"] = ReadDelimiter,
        ["Digits"] = (json, _) => Cut(json.BoolOr("individual_digits", false) ? DigitPattern() : DigitsPattern(), SplitBehavior.Isolated),
        ["Metaspace"] = (json, _) => ReadMetaspace(json),
        ["Punctuation"] = (json, source) => Cut(PunctuationPattern(), ReadBehavior(json, source)),
        ["Sequence"] = ReadSequence,
        ["Split"] = (json, source) => Cut(TextPattern.Read(json, source), ReadBehavior(json, source), inverted: json.BoolOr("invert", false)),
        ["Whitespace"] = (_, _) => Cut(WordPattern(), SplitBehavior.Removed, inverted: true),
        ["WhitespaceSplit"] = (_, _) => Cut(WhiteSpacePattern(), SplitBehavior.Removed),
    };

    /// <summary>The splitting; a null element keeps text in one piece.</summary>
    public static PreTokenizer Read(JsonElement? json, string source) => json is not { } element
        ? (text, _) => [text]
        : ComponentTable.Find(Kinds, "pre-tokenizer", element, source)(element, source);

    private static PreTokenizer ReadSequence(JsonElement json, string source)
    {
        PreTokenizer[] steps = [.. json.Required("pretokenizers", JsonValueKind.Array, source).EnumerateArray().Select(s => Read(s, source))];
        // Only the first piece of the first section is at the beginning of the text.
        return (text, isFirst) => steps.Aggregate(
            (IEnumerable<string>)[text], (words, step) => words.SelectMany((word, i) => step(word, isFirst && i == 0)));
    }

    private static PreTokenizer ReadByteLevel(JsonElement json)
    {
        bool addPrefixSpace = json.BoolOr("add_prefix_space", true);
        PreTokenizer split = json.BoolOr("use_regex", true) ? Cut(Gpt2Pattern(), SplitBehavior.Isolated) : (text, _) => [text];
        return (text, isFirst) => split(addPrefixSpace && !text.StartsWith(' ') ? " " + text : text, isFirst).Select(ByteLevelAlphabet.Spell);
    }

    private static PreTokenizer ReadMetaspace(JsonElement json)
    {
        string replacement = json.StringOr("replacement", "\u2581");
        string scheme = json.StringOr("prepend_scheme", json.BoolOr("add_prefix_space", true) ? "always" : "never");
        PreTokenizer split = json.BoolOr("split", true)
            ? Cut(new Regex(Regex.Escape(replacement), RegexOptions.CultureInvariant), SplitBehavior.MergedWithNext)
            : (text, _) => [text];
        return (text, isFirst) =>
        {
            string marked = text.Replace(" ", replacement, StringComparison.Ordinal);
            bool prepends = scheme == "always" || (scheme == "first" && isFirst);
            return split(prepends && !marked.StartsWith(replacement, StringComparison.Ordinal) ? replacement + marked : marked, isFirst);
        };
    }

    private static PreTokenizer ReadDelimiter(JsonElement json, string source) => json.StringOrNull("delimiter") is { Length: > 0 } delimiter
        ? Cut(new Regex(Regex.Escape(delimiter), RegexOptions.CultureInvariant), SplitBehavior.Removed)
        : throw new ModelFormatException($"'{source}': a CharDelimiterSplit needs a 'delimiter'.");

    private static SplitBehavior ReadBehavior(JsonElement json, string source)
    {
        string behavior = json.StringOr("behavior", nameof(SplitBehavior.Isolated));
        return Enum.TryParse(behavior, out SplitBehavior parsed)
            ? parsed
            : throw new ModelFormatException($"'{source}': a pre-tokenizer asks for the behavior '{behavior}'; known are {string.Join(", ", Enum.GetNames<SplitBehavior>())}.");
    }

    private static PreTokenizer Cut(Regex pattern, SplitBehavior behavior, bool inverted = false, bool dropsWhiteSpace = false) =>
        Cut(new TextPattern(pattern), behavior, inverted, dropsWhiteSpace);

    private static PreTokenizer Cut(TextPattern pattern, SplitBehavior behavior, bool inverted = false, bool dropsWhiteSpace = false) =>
        (text, _) => Splitter.Split(text, pattern, behavior, inverted).Where(word => !dropsWhiteSpace || !string.IsNullOrWhiteSpace(word));

    // Radford et al. 2019: contractions, then words, numbers and other characters each with one space before them.
    [GeneratedRegex(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")]
    private static partial Regex Gpt2Pattern();

    // White space, and punctuation as BERT means it: every visible ASCII character that is no letter or digit, and category P.
    [GeneratedRegex(@"\s|[!-/:-@\[-`{-~\p{P}]")]
    private static partial Regex BertPattern();

    [GeneratedRegex(@"[!-/:-@\[-`{-~\p{P}]")]
    private static partial Regex PunctuationPattern();

    // Letters, marks, digits and what connects them, as Unicode's annex 18 has \w; .NET's lacks some of each.
    [GeneratedRegex(@"[\w\p{M}\p{Nl}\u200C\u200D\u24B6-\u24E9]+|[^\w\p{M}\p{Nl}\u200C\u200D\u24B6-\u24E9\s]+")]
    private static partial Regex WordPattern();

    [GeneratedRegex(@"\s+")]
    private static partial Regex WhiteSpacePattern();

    [GeneratedRegex(@"\p{N}")]
    private static partial Regex DigitPattern();

    [GeneratedRegex(@"\p{N}+")]
    private static partial Regex DigitsPattern();
}
