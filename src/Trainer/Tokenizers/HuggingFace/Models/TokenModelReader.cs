using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Tokenizers.Bpe;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;

/// <summary>Reads the <c>model</c> of a tokenizer.json.</summary>
internal static class TokenModelReader
{
    private const int DefaultMaxCharacters = 100;

    private static readonly Dictionary<string, Func<JsonElement, string, ITokenModel>> Kinds = new(StringComparer.Ordinal)
    {
        ["BPE"] = ReadBpe,
        ["Unigram"] = ReadUnigram,
        ["WordLevel"] = (model, source) => new WordLevelModel(ReadVocabulary(model, source), model.StringOr("unk_token", "<unk>"), source),
        ["WordPiece"] = ReadWordPiece,
    };

    public static ITokenModel Read(JsonElement model, string source)
    {
        // Files of old versions leave the type out; only BPE has merges, only Unigram a list for a vocabulary.
        string type = model.StringOr("type", model.TryGetProperty("merges", out _) ? "BPE"
            : model.MemberOrNull("vocab") is { ValueKind: JsonValueKind.Array } ? "Unigram"
            : model.TryGetProperty("continuing_subword_prefix", out _) ? "WordPiece" : "WordLevel");
        return Kinds.TryGetValue(type, out Func<JsonElement, string, ITokenModel>? read)
            ? read(model, source)
            : throw new ModelFormatException(
                $"'{source}' holds a tokenizer model of type '{type}'; {string.Join(", ", Kinds.Keys)} can be read. If a SentencePiece tokenizer.model lies beside it, give that file.");
    }

    private static UnigramModel ReadUnigram(JsonElement model, string source)
    {
        List<(string, double)> pieces = [];
        foreach (JsonElement piece in model.Required("vocab", JsonValueKind.Array, source).EnumerateArray())
        {
            pieces.Add(piece.ValueKind == JsonValueKind.Array && piece.GetArrayLength() == 2 && piece[0].ValueKind == JsonValueKind.String
                && piece[1].ValueKind == JsonValueKind.Number && double.IsFinite(piece[1].GetDouble())
                ? (piece[0].GetString()!, piece[1].GetDouble())
                : throw new ModelFormatException($"'{source}': entry {pieces.Count} of the vocabulary is {piece.GetRawText()}; a Unigram model has [token, log probability]."));
        }

        return new UnigramModel(pieces, model.MemberOrNull("unk_id") is null ? null : model.IntOr("unk_id", -1), model.BoolOr("byte_fallback", false), source);
    }

    private static WordPieceModel ReadWordPiece(JsonElement model, string source) => new(
        ReadVocabulary(model, source),
        model.StringOr("unk_token", "[UNK]"),
        model.StringOr("continuing_subword_prefix", "##"),
        model.IntOr("max_input_chars_per_word", DefaultMaxCharacters));

    private static BpeModel ReadBpe(JsonElement model, string source)
    {
        TokenVocabulary vocabulary = ReadVocabulary(model, source);
        string prefix = model.StringOr("continuing_subword_prefix", "");
        MergeTable merges = new();
        int rank = 0;
        foreach (JsonElement merge in model.Required("merges", JsonValueKind.Array, source).EnumerateArray())
        {
            (string left, string right) = SplitMerge(merge, source, rank);
            string merged = left + (right.StartsWith(prefix, StringComparison.Ordinal) ? right[prefix.Length..] : right);
            merges.Add(Id(left), Id(right), Id(merged), -rank);
            rank++;
        }

        return new BpeModel(vocabulary, merges, new BpeModelOptions
        {
            UnknownToken = model.StringOrNull("unk_token"),
            FuseUnknown = model.BoolOr("fuse_unk", false),
            ByteFallback = model.BoolOr("byte_fallback", false),
            IgnoreMerges = model.BoolOr("ignore_merges", false),
            ContinuingPrefix = prefix,
            EndOfWordSuffix = model.StringOr("end_of_word_suffix", ""),
        });

        int Id(string token) => vocabulary.IdOf(token)
            ?? throw new ModelFormatException($"'{source}': merge {rank} needs the token '{token}', which the vocabulary lacks; vocabulary and merges are not of one tokenizer.");
    }

    private static (string Left, string Right) SplitMerge(JsonElement merge, string source, int rank)
    {
        if (merge.ValueKind == JsonValueKind.Array && merge.GetArrayLength() == 2
            && merge[0].ValueKind == JsonValueKind.String && merge[1].ValueKind == JsonValueKind.String)
        {
            return (merge[0].GetString()!, merge[1].GetString()!);
        }

        string[] parts = merge.ValueKind == JsonValueKind.String ? merge.GetString()!.Split(' ') : [];
        return parts.Length == 2
            ? (parts[0], parts[1])
            : throw new ModelFormatException($"'{source}': merge {rank} is {merge.GetRawText()}; a merge is two tokens, as \"a b\" or [\"a\", \"b\"].");
    }

    private static TokenVocabulary ReadVocabulary(JsonElement model, string source)
    {
        List<KeyValuePair<string, int>> entries = [];
        foreach (JsonProperty entry in model.Required("vocab", JsonValueKind.Object, source).EnumerateObject())
        {
            if (entry.Value.ValueKind != JsonValueKind.Number || !entry.Value.TryGetInt32(out int id))
            {
                throw new ModelFormatException($"'{source}': the id of token '{entry.Name}' is {entry.Value.GetRawText()}, not a whole number.");
            }

            entries.Add(new(entry.Name, id));
        }

        return new TokenVocabulary(entries, source);
    }
}
