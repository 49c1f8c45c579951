using System.Text;
using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Tokenizers;

namespace OrtQLoRA.Trainer.Tests.Tokenizers;

/// <summary>Tokenizers that can spell every byte give back any text; formats that say the same give equal ids.</summary>
[TestClass]
public sealed class RoundTripTests
{
    private const int Seed = 5;

    // First and last character of blocks of many kinds: letters, marks, ideographs, symbols, beyond U+FFFF, controls.
    private static readonly (int First, int Last)[] Blocks =
    [
        (0x20, 0x7E), (0x00, 0x1F), (0xA0, 0x24F), (0x300, 0x36F), (0x590, 0x6FF), (0x900, 0x97F), (0x1100, 0x11FF), (0x2000, 0x206F), (0x2581, 0x2581),
        (0x3000, 0x30FF), (0x4E00, 0x4EFF), (0xAC00, 0xACFF), (0xE000, 0xE010), (0xFB00, 0xFB4F), (0xFF00, 0xFFEF), (0x10300, 0x1032F), (0x1D400, 0x1D4FF), (0x1F300, 0x1F64F), (0x20000, 0x200FF),
    ];

    [TestMethod]
    public void Decode_ArbitraryUnicode_GivesTheTextBack()
    {
        using TemporaryFolder folder = new();
        ITextTokenizer[] tokenizers = [.. Files(folder).Select(TokenizerLoader.Load)];
        foreach (string text in Texts())
        {
            foreach (ITextTokenizer tokenizer in tokenizers)
            {
                Assert.AreEqual(text, tokenizer.Decode(tokenizer.Encode(text)), JsonSerializer.Serialize(text));
            }

            CollectionAssert.AreEqual(tokenizers[0].Encode(text), tokenizers[1].Encode(text), JsonSerializer.Serialize(text));
        }
    }

    [TestMethod]
    public void Load_TiktokenOfUnknownSize_AsksForThePattern()
    {
        using TemporaryFolder folder = new();
        folder.Write("odd.tiktoken", TokenizerSamples.Tiktoken());

        ModelFormatException e = Assert.ThrowsExactly<ModelFormatException>(() => TokenizerLoader.Load(folder.File("odd.tiktoken")));

        Assert.Contains("264 tokens", e.Message);
        Assert.Contains("pat_str", e.Message);
    }

    [TestMethod]
    [DataRow("IQ== 0\n!!!\n", "line 2")]
    [DataRow("IQ== 0\nIQ== 1\n", "line 2")]
    [DataRow("IQ== 0\nIg== 1\n", "byte 0")]
    public void Load_DamagedTiktoken_NamesTheLine(string content, string fault)
    {
        using TemporaryFolder folder = new();
        folder.Write("odd.tiktoken", content);

        ModelFormatException e = Assert.ThrowsExactly<ModelFormatException>(() => TokenizerLoader.Load(folder.File("odd.tiktoken")));

        Assert.Contains("odd.tiktoken", e.Message);
        Assert.Contains(fault, e.Message);
    }

    [TestMethod]
    public void Load_VocabularyWithoutMerges_SaysWhatIsMissing()
    {
        using TemporaryFolder folder = new();
        folder.Write("vocab.json", "{\"a\": 0}");

        ModelFormatException e = Assert.ThrowsExactly<ModelFormatException>(() => TokenizerLoader.Load(folder.File("vocab.json")));

        Assert.Contains("merges.txt", e.Message);
    }

    [TestMethod]
    [DataRow("RobertaTokenizer", new[] { 264, 259, 265 })]
    [DataRow("GPT2Tokenizer", new[] { 259 })]
    public void Encode_VocabularyAndMerges_FramesTextsAsTheFamilyDoes(string family, int[] ids)
    {
        using TemporaryFolder folder = new();
        (Dictionary<string, int> vocabulary, string[] merges) = TokenizerSamples.ByteLevelVocabulary();
        vocabulary["<s>"] = 264;
        vocabulary["</s>"] = 265;
        folder.Write("vocab.json", JsonSerializer.Serialize(vocabulary));
        folder.Write("merges.txt", "#version: 0.2\n" + string.Join('\n', merges));
        folder.Write("tokenizer_config.json", JsonSerializer.Serialize(new { tokenizer_class = family, bos_token = "<s>", eos_token = "</s>" }));

        ITextTokenizer tokenizer = TokenizerLoader.Load(folder.Path);

        CollectionAssert.AreEqual(ids, tokenizer.Encode("hello"));
        Assert.AreEqual(265, tokenizer.SpecialTokens.EndOfSequence);
    }

    [TestMethod]
    [DataRow(1, false, " hello  hello ", new[] { 1, 4, 5, 4, 5 }, "hello hello")]
    [DataRow(1, false, "h\u00E9\u00FClo<user>he", new[] { 1, 3, 10, 0, 9, 12, 4 }, "h<unk>lo<user> he")]
    [DataRow(1, true, "\u00E9", new[] { 1, 3, 13 + 0xC3, 13 + 0xA9 }, "\u00E9")]
    [DataRow(2, false, "hello", new[] { 1, 4, 5 }, "hello")]
    [DataRow(2, true, "\u00E9lo", new[] { 1, 3, 13 + 0xC3, 13 + 0xA9, 9 }, "\u00E9lo")]
    public void Encode_SentencePieceModel_SplitsAsSentencePieceDoes(int kind, bool byteFallback, string text, int[] ids, string decoded)
    {
        using TemporaryFolder folder = new();
        File.WriteAllBytes(folder.File("tokenizer.model"), TokenizerSamples.SentencePiece(kind, byteFallback));
        ITextTokenizer tokenizer = TokenizerLoader.Load(folder.Path);

        CollectionAssert.AreEqual(ids, tokenizer.Encode(text), string.Join(' ', tokenizer.Encode(text)));
        Assert.AreEqual(decoded, tokenizer.Decode(ids));
    }

    [TestMethod]
    public void Load_SentencePieceOfAFamilyWithIdsOfItsOwn_AsksForTheJson()
    {
        using TemporaryFolder folder = new();
        File.WriteAllBytes(folder.File("tokenizer.model"), TokenizerSamples.SentencePiece(1, false));
        folder.Write("tokenizer_config.json", "{\"tokenizer_class\": \"XLMRobertaTokenizer\"}");

        Assert.Contains("tokenizer.json", Assert.ThrowsExactly<ModelFormatException>(() => TokenizerLoader.Load(folder.Path)).Message);
    }

    // The first two say the same.
    private static string[] Files(TemporaryFolder folder)
    {
        (Dictionary<string, int> vocabulary, string[] merges) = TokenizerSamples.ByteLevelVocabulary();
        folder.Write("tiktoken/t.tiktoken", TokenizerSamples.Tiktoken());
        folder.Write("tiktoken/tokenizer_config.json", JsonSerializer.Serialize(new { pat_str = TokenizerSamples.LlamaPattern }));
        folder.Write("json/tokenizer.json", TokenizerSamples.ByteLevelJson().Replace("\"NFC\"", "\"Sequence\", \"normalizers\": []", StringComparison.Ordinal).Replace("\"zed\"", "\"<zed>\"", StringComparison.Ordinal));
        folder.Write("merges/vocab.json", JsonSerializer.Serialize(vocabulary));
        folder.Write("merges/merges.txt", string.Join('\n', merges));
        return [folder.File("tiktoken"), folder.File("json"), folder.File("merges")];
    }

    private static IEnumerable<string> Texts()
    {
        Random random = new(Seed);
        yield return "";
        yield return "hello hello ab 123 it's\r\n\r\n  \t";
        for (int i = 0; i < 300; i++)
        {
            StringBuilder text = new();
            for (int length = random.Next(1, 30); length > 0; length--)
            {
                (int first, int last) = Blocks[random.Next(Blocks.Length)];
                text.Append(new Rune(random.Next(first, last + 1)));
            }

            yield return text.ToString();
        }
    }
}
