using System.Text;
using System.Text.Json;
using Google.Protobuf;
using OrtQLoRA.Trainer.Tokenizers.Llama2c;

namespace OrtQLoRA.Trainer.Tests.Tokenizers;

/// <summary>Spells one llama2.c vocabulary in the other formats that say the same, so that all must give equal ids.</summary>
internal static class TokenizerSamples
{
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
