using System.Text;
using System.Text.Json;
using Google.Protobuf;
using OrtQLoRA.Trainer.Tokenizers.Llama2c;

namespace OrtQLoRA.Trainer.Tests.Tokenizers;

/// <summary>Spells one llama2.c vocabulary in the other formats that say the same, so that all must give equal ids.</summary>
internal static class TokenizerSamples
{
    /// <summary>The pattern of Llama 3's words, with possessive quantifiers as others write it.</summary>
    public const string LlamaPattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const char Space = '\u2581';

    /// <summary>The vocabulary as a tokenizer.json in the form of Llama 2's.</summary>
    public static string ToTokenizerJson(IReadOnlyList<VocabularyEntry> entries)
    {
        Dictionary<string, int> ids = [];
        for (int id = 0; id < entries.Count; id++)
        {
            ids.TryAdd(id < Llama2cTokenizer.FirstByteId ? Text(entries[id]).Trim('\n') : Spaced(entries[id]), id);
        }

        List<string[]> merges = [];
        foreach (VocabularyEntry entry in entries.Skip(Llama2cTokenizer.FirstTextId).OrderByDescending(e => e.Score))
        {
            string token = Spaced(entry);
            merges.AddRange(Enumerable.Range(1, token.Length - 1).Select(i => new[] { token[..i], token[i..] }).Where(p => ids.ContainsKey(p[0]) && ids.ContainsKey(p[1])));
        }

        return JsonSerializer.Serialize(new
        {
            version = "1.0",
            added_tokens = new[] { Added(0, "<unk>"), Added(1, "<s>"), Added(2, "</s>") },
            normalizer = new { type = "Sequence", normalizers = new object[] { new { type = "Prepend", prepend = $"{Space}" }, new { type = "Replace", pattern = new { String = " " }, content = $"{Space}" } } },
            pre_tokenizer = (object?)null,
            post_processor = new
            {
                type = "TemplateProcessing",
                single = new object[] { new { SpecialToken = new { id = "<s>", type_id = 0 } }, new { Sequence = new { id = "A", type_id = 0 } } },
                pair = Array.Empty<object>(),
                special_tokens = new Dictionary<string, object> { ["<s>"] = new { id = "<s>", ids = new[] { 1 }, tokens = new[] { "<s>" } } },
            },
            decoder = new
            {
                type = "Sequence",
                decoders = new object[]
                {
                    new { type = "Replace", pattern = new { String = $"{Space}" }, content = " " }, new { type = "ByteFallback" }, new { type = "Fuse" },
                    new { type = "Strip", content = " ", start = 1, stop = 0 },
                },
            },
            model = new { type = "BPE", unk_token = "<unk>", fuse_unk = true, byte_fallback = true, vocab = ids, merges },
        });
    }

    /// <summary>The vocabulary as a SentencePiece tokenizer.model of type BPE.</summary>
    public static byte[] ToSentencePieceModel(IReadOnlyList<VocabularyEntry> entries)
    {
        using MemoryStream stream = new();
        using CodedOutputStream output = new(stream);
        for (int id = 0; id < entries.Count; id++)
        {
            string piece = id < Llama2cTokenizer.FirstByteId ? Text(entries[id]).Trim('\n') : Spaced(entries[id]);
            float score = entries[id].Score;
            int kind = id == 0 ? 2 : id < Llama2cTokenizer.FirstByteId ? 3 : id < Llama2cTokenizer.FirstTextId ? 6 : 1;
            WriteMessage(output, 1, o =>
            {
                o.WriteTag(1, WireFormat.WireType.LengthDelimited);
                o.WriteString(piece);
                o.WriteTag(2, WireFormat.WireType.Fixed32);
                o.WriteFloat(score);
                WriteNumber(o, 3, kind);
            });
        }

        WriteMessage(output, 2, o =>
        {
            WriteNumber(o, 3, 2); // model_type: BPE
            WriteNumber(o, 35, 1); // byte_fallback
            WriteNumber(o, 40, 0); // unk_id
            WriteNumber(o, 41, 1); // bos_id
            WriteNumber(o, 42, 2); // eos_id
        });
        WriteMessage(output, 3, o =>
        {
            WriteNumber(o, 3, 1); // add_dummy_prefix
            WriteNumber(o, 4, 0); // remove_extra_whitespaces
            WriteNumber(o, 5, 1); // escape_whitespaces
        });
        output.Flush();
        return stream.ToArray();
    }

    /// <summary>
    /// Byte-level encoding with a few merges, in the form of Llama 3's tokenizer.json: bytes are ids 0 to 255, merges follow, then
    /// the added tokens <c>&lt;|x|&gt;</c> (264) and <c>zed</c> (265, only as a word of its own).
    /// </summary>
    public static string ByteLevelJson()
    {
        (Dictionary<string, int> vocabulary, string[] merges) = ByteLevelVocabulary();
        return JsonSerializer.Serialize(new
        {
            added_tokens = new object[]
            {
                new { id = 264, content = "<|x|>", special = true, normalized = false },
                new { id = 265, content = "zed", special = false, normalized = true, single_word = true },
            },
            normalizer = new { type = "NFC" },
            pre_tokenizer = new
            {
                type = "Sequence",
                pretokenizers = new object[]
                {
                    new { type = "Split", pattern = new { Regex = LlamaPattern }, behavior = "Isolated", invert = false },
                    new { type = "ByteLevel", add_prefix_space = false, use_regex = false },
                },
            },
            decoder = new { type = "ByteLevel" },
            model = new { type = "BPE", ignore_merges = true, vocab = vocabulary, merges },
        });
    }

    /// <summary>The bytes as GPT-2 spells them, and what a few merges make of them.</summary>
    public static (Dictionary<string, int> Vocabulary, string[] Merges) ByteLevelVocabulary()
    {
        string[] merges = ["h e", "l l", "ll o", "he llo", "\u0120 hello", "a b", "1 2", "12 3"];
        Dictionary<string, int> vocabulary = [];
        int shifted = 0x100;
        for (int b = 0; b < 256; b++)
        {
            bool isPrinted = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            vocabulary.Add(((char)(isPrinted ? b : shifted++)).ToString(), b);
        }

        foreach (string merge in merges)
        {
            vocabulary.Add(merge.Replace(" ", "", StringComparison.Ordinal), vocabulary.Count);
        }

        return (vocabulary, merges);
    }

    /// <summary>The same tokens as a tiktoken file.</summary>
    public static string Tiktoken() => string.Concat(ByteLevelVocabulary().Vocabulary.Select(t =>
        $"{Convert.ToBase64String(t.Value < 256 ? [(byte)t.Value] : Encoding.ASCII.GetBytes(t.Key.Replace('\u0120', ' ')))} {t.Value}\n"));

    /// <summary>A SentencePiece model of few pieces, its bytes' tokens last.</summary>
    /// <param name="kind">1: unigram, 2: byte-pair encoding.</param>
    /// <param name="byteFallback">Whether unknown characters become bytes.</param>
    public static byte[] SentencePiece(int kind, bool byteFallback)
    {
        (string Text, float Score, int Kind)[] pieces =
        [
            ("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3), ($"{Space}", -3, 1), ($"{Space}he", -4, 1), ("llo", -4.5f, 1), ("he", -5, 1), ("l", -6, 1), ("o", -6, 1), ("lo", -5.5f, 1),
            ("h", -7, 1), ("e", -7, 1), ("<user>", 0, 4),
            .. Enumerable.Range(0, 256).Select(b => ($"<0x{b:X2}>", 0f, 6)),
        ];
        using MemoryStream stream = new();
        using CodedOutputStream output = new(stream);
        foreach ((string text, float score, int pieceKind) in pieces)
        {
            WriteMessage(output, 1, o =>
            {
                o.WriteTag(1, WireFormat.WireType.LengthDelimited);
                o.WriteString(text);
                o.WriteTag(2, WireFormat.WireType.Fixed32);
                o.WriteFloat(score);
                WriteNumber(o, 3, pieceKind);
            });
        }

        WriteMessage(output, 2, o =>
        {
            WriteNumber(o, 3, kind);
            WriteNumber(o, 35, byteFallback ? 1 : 0);
        });
        output.Flush();
        return stream.ToArray();
    }

    private static object Added(int id, string content) => new { id, content, special = true, normalized = false };

    private static string Text(VocabularyEntry entry) => Encoding.UTF8.GetString(entry.Bytes.Span);

    private static string Spaced(VocabularyEntry entry) => Text(entry).Replace(' ', Space);

    private static void WriteNumber(CodedOutputStream output, int field, long value)
    {
        output.WriteTag(field, WireFormat.WireType.Varint);
        output.WriteInt64(value);
    }

    private static void WriteMessage(CodedOutputStream output, int field, Action<CodedOutputStream> write)
    {
        using MemoryStream stream = new();
        using CodedOutputStream message = new(stream);
        write(message);
        message.Flush();
        output.WriteTag(field, WireFormat.WireType.LengthDelimited);
        output.WriteBytes(ByteString.CopyFrom(stream.ToArray()));
    }
}
