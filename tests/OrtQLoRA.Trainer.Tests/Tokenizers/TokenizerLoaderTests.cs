using System.Text;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Tokenizers;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace;
using OrtQLoRA.Trainer.Tokenizers.Llama2c;

namespace OrtQLoRA.Trainer.Tests.Tokenizers;

[TestClass]
public sealed class TokenizerLoaderTests
{
    private static readonly string[] Corpus =
    [
        "The keeper climbed the tower at dusk and lit the lamp, for the fog was coming in from the sea.",
        "In the harbour the boats lay still; the gulls slept on the wall. The keeper wrote it down.",
    ];

    private static readonly string[] Texts =
    [
        "The keeper lit the lamp.", "", " ", "a", "fog in the harbour,  and more   fog", "naïve 灯台 😀", "line\nbreak\tand tab", "THE SEA the sea",
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("ortqlora-tokenizers-").FullName;

    private static IReadOnlyList<VocabularyEntry> Vocabulary { get; } = Llama2cVocabularyTrainer.Train(Corpus, 380);

    [TestCleanup]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [TestMethod]
    public void Load_SameVocabularyInEachFormat_GivesEqualIdsAndText()
    {
        using (FileStream binary = File.Create(PathOf("a.dat")))
        {
            Llama2cVocabularyFile.Write(binary, [.. Vocabulary]);
        }

        File.WriteAllText(PathOf("b.dat"), TokenizerSamples.ToTokenizerJson(Vocabulary));
        File.WriteAllBytes(PathOf("c.dat"), TokenizerSamples.ToSentencePieceModel(Vocabulary));
        ITextTokenizer llama2c = TokenizerLoader.Load(PathOf("a.dat"));
        ITextTokenizer json = TokenizerLoader.Load(PathOf("b.dat"));
        ITextTokenizer sentencePiece = TokenizerLoader.Load(PathOf("c.dat"));

        Assert.IsInstanceOfType<Llama2cTokenizer>(llama2c);
        Assert.IsInstanceOfType<PipelineTokenizer>(json);
        Assert.IsInstanceOfType<PipelineTokenizer>(sentencePiece);
        foreach (ITextTokenizer other in (ITextTokenizer[])[json, sentencePiece])
        {
            Assert.AreEqual(llama2c.VocabularySize, other.VocabularySize);
            Assert.AreEqual(new SpecialTokens(0, 1, 2), other.SpecialTokens);
            foreach (string text in Texts.Concat(Corpus))
            {
                CollectionAssert.AreEqual(llama2c.Encode(text), other.Encode(text), $"{other.GetType().Name}: '{text}'");
                Assert.AreEqual(text, other.Decode(other.Encode(text)), other.GetType().Name);
            }
        }
    }

    [TestMethod]
    public void Load_ByteLevelJson_EncodesAsGpt2Does()
    {
        const string json = """
            {"added_tokens": [{"id": 9, "content": "<|endoftext|>", "special": true}],
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}, "decoder": {"type": "ByteLevel"},
             "model": {"type": "BPE", "vocab": {"t": 0, "h": 1, "e": 2, "Ġ": 3, "th": 4, "the": 5, "Ġthe": 6, "Ċ": 7, "he": 8, "Ã": 10, "©": 11, "'": 12, "s": 13, "'s": 14},
             "merges": ["h e", "t h", "th e", "t he", "Ġ the", "' s"]}}
            """;
        File.WriteAllText(PathOf("tokenizer.json"), json);
        File.WriteAllText(PathOf("tokenizer_config.json"), """{"eos_token": {"content": "<|endoftext|>"}}""");
        ITextTokenizer tokenizer = TokenizerLoader.Load(_folder);

        // "h e" was learnt first, so "the" is t + he = the; the é is the bytes C3 A9; an added token is found as it stands.
        CollectionAssert.AreEqual(new[] { 5, 6, 14, 7, 10, 11, 9, 3, 3, 6 }, tokenizer.Encode("the the's\né<|endoftext|>   the"));
        Assert.AreEqual("the the's\né   the", tokenizer.Decode([5, 6, 14, 7, 10, 11, 9, 3, 3, 6]));
        Assert.AreEqual(9, tokenizer.SpecialTokens.EndOfSequence);
    }

    [TestMethod]
    [DataRow("vocab.txt", "no unknown token\nhere\n", "no tokenizer that can be read")]
    [DataRow("vocab.txt", "[UNK]\nhello\n", "[CLS]")]
    [DataRow("tokenizer.json", "{\"model\": {\"type\": \"Odd\"}}", "'Odd'")]
    [DataRow("tokenizer.json", "{\"model\": ", "no valid JSON")]
    [DataRow("tokenizer.json", "{}", "'model'")]
    [DataRow("tokenizer.json", "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}", "'b'")]
    [DataRow("tokenizer.json", "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": \"x\"}, \"merges\": []}}", "'a'")]
    [DataRow("tokenizer.json", "{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}}", "no token")]
    [DataRow("tokenizer.json", "{\"normalizer\": {\"type\": \"Odd\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}", "'Odd'")]
    [DataRow("tokenizer.json", "{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}", "regular expression")]
    [DataRow("tokenizer.bin", "abc", "llama2.c")]
    [DataRow("tokenizer.model", "\n\u0005abc", "SentencePiece")]
    public void Load_BadFile_NamesFileAndFault(string name, string content, string fault)
    {
        File.WriteAllText(PathOf(name), content);

        ModelFormatException e = Assert.ThrowsExactly<ModelFormatException>(() => TokenizerLoader.Load(PathOf(name)));

        StringAssert.Contains(e.Message, name);
        StringAssert.Contains(e.Message, fault);
    }

    [TestMethod]
    public void Load_MissingFileOrEmptyFolder_ListsWhatIsLookedFor()
    {
        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => TokenizerLoader.Load(_folder)).Message, "tokenizer.json");
        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => TokenizerLoader.Load(PathOf("absent.json"))).Message, "absent.json");
    }

    [TestMethod]
    public void Load_MutatedFiles_FailOnlyByOurOwnErrors()
    {
        const int seed = 11;
        byte[] json = Encoding.UTF8.GetBytes(TokenizerSamples.ToTokenizerJson(Vocabulary));
        byte[] sentencePiece = TokenizerSamples.ToSentencePieceModel(Vocabulary);
        using MemoryStream binary = new();
        Llama2cVocabularyFile.Write(binary, [.. Vocabulary]);
        Random random = new(seed);
        foreach (byte[] original in (byte[][])[json, sentencePiece, binary.ToArray()])
        {
            for (int round = 0; round < 60; round++)
            {
                byte[] content = original[..(random.Next(4) == 0 ? random.Next(original.Length) : original.Length)];
                for (int change = random.Next(1, 4); change > 0 && content.Length > 0; change--)
                {
                    content[random.Next(content.Length)] = (byte)random.Next(256);
                }

                File.WriteAllBytes(PathOf("mutated"), content);
                try
                {
                    TokenizerLoader.Load(PathOf("mutated")).Encode("the keeper");
                }
                catch (OrtQLoRAException)
                {
                    // Refused in words: as wished.
                }
            }
        }
    }

    private string PathOf(string name) => Path.Combine(_folder, name);
}
