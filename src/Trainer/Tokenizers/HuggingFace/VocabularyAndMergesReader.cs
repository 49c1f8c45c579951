using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>
/// Reads byte-pair encoding in two files, vocab.json (tokens with their ids) and merges.txt (a pair a line, best first), by writing
/// the tokenizer.json that says the same. What files do not say follows from <c>tokenizer_class</c> in tokenizer_config.json.
/// </summary>
internal static class VocabularyAndMergesReader
{
    internal const string VocabularyName = "vocab.json";
    internal const string MergesName = "merges.txt";

    private const string QwenPattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string ClipPattern = @"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

    /// <summary>Families that put tokens around a text as RoBERTa does.</summary>
    private static readonly HashSet<string> LikeRoberta = ["Roberta", "Bart", "Longformer", "LED", "Blenderbot", "Deberta", "MVP", "MobileViT"];

    /// <summary>Reads both files.</summary>
    /// <param name="vocabularyFile">The vocab.json.</param>
    /// <param name="settings">Parsed settings files beside it.</param>
    /// <exception cref="ModelFormatException">A file is missing or damaged, or the tokens follow rules that the files do not tell.</exception>
    public static PipelineTokenizer Read(string vocabularyFile, IReadOnlyList<JsonElement> settings)
    {
        string mergesFile = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(vocabularyFile))!, MergesName);
        if (!File.Exists(mergesFile))
        {
            throw new ModelFormatException($"'{vocabularyFile}' is a vocabulary without merges; put the {MergesName} that belongs to it beside it, or give a tokenizer.json.");
        }

        JsonObject vocabulary = ReadVocabulary(vocabularyFile);
        string family = Setting(settings, "tokenizer_class")?.Replace("TokenizerFast", "", StringComparison.Ordinal).Replace("Tokenizer", "", StringComparison.Ordinal) ?? "";
        JsonObject root = new()
        {
            ["added_tokens"] = AddedTokens(settings, vocabulary, vocabularyFile),
            ["decoder"] = Part("ByteLevel"),
            ["model"] = Part("BPE", ("vocab", vocabulary), ("merges", Merges(mergesFile)), ("unk_token", Setting(settings, "unk_token") is { } unknown && vocabulary.ContainsKey(unknown) && family == "CLIP" ? unknown : null)),
        };
        if (family == "CLIP")
        {
            UseClip(root, vocabulary, vocabularyFile, settings);
        }
        else if (vocabulary.Any(t => t.Key.EndsWith("</w>", StringComparison.Ordinal)))
        {
            throw new ModelFormatException($"'{vocabularyFile}' marks ends of words by </w>, which each model family does in its own way; give the model's tokenizer.json.");
        }
        else
        {
            UseByteLevel(root, vocabulary, vocabularyFile, settings, family);
        }

        return TokenizerJsonReader.Read(Encoding.UTF8.GetBytes(root.ToJsonString()), settings, vocabularyFile);
    }

    /// <summary>Whether JSON is a vocabulary alone: names with numbers.</summary>
    public static bool IsVocabulary(JsonElement root) =>
        root.ValueKind == JsonValueKind.Object && root.EnumerateObject().Any() && root.EnumerateObject().All(t => t.Value.ValueKind == JsonValueKind.Number);

    private static JsonObject ReadVocabulary(string file)
    {
        try
        {
            using Stream stream = File.OpenRead(file);
            JsonObject vocabulary = JsonNode.Parse(stream)!.AsObject();

            // Names that stand twice show when the object is first looked into.
            return vocabulary.Count > 0 ? vocabulary : throw new ModelFormatException($"'{file}' holds no token; use the vocabulary that belongs to the model.");
        }
        catch (Exception e) when (e is JsonException or ArgumentException or InvalidOperationException)
        {
            throw new ModelFormatException($"'{file}' is no vocabulary: {e.Message} Fetch the file again.", e);
        }
    }

    private static void UseByteLevel(JsonObject root, JsonObject vocabulary, string file, IReadOnlyList<JsonElement> settings, string family)
    {
        bool addsSpace = settings.Select(s => s.BoolOrNull("add_prefix_space")).FirstOrDefault(b => b is not null) ?? false;
        bool isQwen = family.StartsWith("Qwen", StringComparison.Ordinal);
        root["normalizer"] = isQwen ? Part("NFC") : null;
        root["pre_tokenizer"] = isQwen
            ? Part("Sequence", ("pretokenizers", new JsonArray(
                Part("Split", ("pattern", new JsonObject { ["Regex"] = QwenPattern }), ("behavior", "Isolated")), Part("ByteLevel", ("add_prefix_space", addsSpace), ("use_regex", false)))))
            : Part("ByteLevel", ("add_prefix_space", addsSpace), ("use_regex", true));
        bool addsBeginning = settings.Select(s => s.BoolOrNull("add_bos_token")).FirstOrDefault(b => b is not null) ?? false;
        if (LikeRoberta.Contains(family))
        {
            root["post_processor"] = Part(
                "RobertaProcessing", ("cls", Token(vocabulary, Setting(settings, "cls_token") ?? "<s>", file)), ("sep", Token(vocabulary, Setting(settings, "sep_token") ?? "</s>", file)));
        }
        else if (addsBeginning && Setting(settings, "bos_token") is { } beginning)
        {
            root["post_processor"] = Part(
                "TemplateProcessing",
                ("single", new JsonArray(Piece("SpecialToken", beginning, 0), Piece("Sequence", "A", 0))),
                ("pair", new JsonArray(Piece("SpecialToken", beginning, 0), Piece("Sequence", "A", 0), Piece("SpecialToken", beginning, 1), Piece("Sequence", "B", 1))),
                ("special_tokens", new JsonObject { [beginning] = new JsonObject { ["ids"] = new JsonArray(Token(vocabulary, beginning, file)[1]!.DeepClone()) } }));
        }
    }

    private static void UseClip(JsonObject root, JsonObject vocabulary, string file, IReadOnlyList<JsonElement> settings)
    {
        root["model"]!["end_of_word_suffix"] = "</w>";
        root["normalizer"] = Part("Sequence", ("normalizers", new JsonArray(
            Part("NFC"), Part("Replace", ("pattern", new JsonObject { ["Regex"] = @"\s+" }), ("content", " ")), Part("Lowercase"))));
        root["pre_tokenizer"] = Part("Sequence", ("pretokenizers", new JsonArray(
            Part("Split", ("pattern", new JsonObject { ["Regex"] = ClipPattern }), ("behavior", "Removed"), ("invert", true)), Part("ByteLevel", ("add_prefix_space", false), ("use_regex", true)))));
        root["post_processor"] = Part(
            "BertProcessing",
            ("cls", Token(vocabulary, Setting(settings, "bos_token") ?? "<|startoftext|>", file)),
            ("sep", Token(vocabulary, Setting(settings, "eos_token") ?? "<|endoftext|>", file)));
        root["decoder"] = Part("Sequence", ("decoders", new JsonArray(Part("ByteLevel"), Part("Replace", ("pattern", new JsonObject { ["String"] = "</w>" }), ("content", " ")))));
    }

    private static JsonArray Merges(string file)
    {
        JsonArray merges = [];
        foreach (string line in File.ReadLines(file).Where(l => l.Length > 0 && !l.StartsWith("#version", StringComparison.Ordinal)))
        {
            merges.Add(line);
        }

        return merges;
    }

    private static JsonArray AddedTokens(IReadOnlyList<JsonElement> settings, JsonObject vocabulary, string file)
    {
        List<AddedToken> tokens = [.. AddedTokenReader.ReadListed(settings, file)];
        foreach (string key in new[] { "unk_token", "bos_token", "eos_token", "pad_token", "cls_token", "sep_token", "mask_token" })
        {
            if (Setting(settings, key) is { } content && vocabulary.TryGetPropertyValue(content, out JsonNode? id) && !tokens.Exists(t => t.Content == content))
            {
                tokens.Add(new AddedToken(id!.GetValue<int>(), content, true, false, false, key == "mask_token", false));
            }
        }

        return [.. tokens.Select(t => (JsonNode)new JsonObject
        {
            ["id"] = t.Id,
            ["content"] = t.Content,
            ["special"] = t.IsSpecial,
            ["normalized"] = t.IsNormalized,
            ["single_word"] = t.IsSingleWord,
            ["lstrip"] = t.StripsLeft,
            ["rstrip"] = t.StripsRight,
        })];
    }

    private static JsonArray Token(JsonObject vocabulary, string token, string file) => vocabulary.TryGetPropertyValue(token, out JsonNode? id)
        ? [token, id!.DeepClone()]
        : throw new ModelFormatException($"'{file}' lacks the token '{token}', which tokenizer_config.json puts around texts; use the files of one tokenizer.");

    private static JsonObject Piece(string kind, string id, int segment) => new() { [kind] = new JsonObject { ["id"] = id, ["type_id"] = segment } };

    private static JsonObject Part(string type, params (string Name, JsonNode? Value)[] members) =>
        new([KeyValuePair.Create("type", (JsonNode?)type), .. members.Select(m => KeyValuePair.Create(m.Name, m.Value))]);

    private static string? Setting(IReadOnlyList<JsonElement> settings, string key) =>
        settings.Select(s => s.StringOrNull(key) ?? s.MemberOrNull(key)?.StringOrNull("content")).FirstOrDefault(t => t is not null);
}
