using System.Text.Json;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Tokenizers;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace;

namespace OrtQLoRA.Trainer.Tests.Tokenizers.HuggingFace;

[TestClass]
public sealed class WordPieceTokenizerTests
{
    private const string Folder = "real/minilm-l6-v2";

    [TestMethod]
    [DataRow("vocab.txt")]
    [DataRow("tokenizer.json")]
    public void Encode_HardStrings_EqualsTheRecordedIds(string file)
    {
        ITextTokenizer tokenizer = TokenizerLoader.Load(Fixtures.Require($"{Folder}/{file}"));
        foreach (JsonElement text in Recorded().GetProperty("texts").EnumerateArray())
        {
            string content = text.GetProperty("text").GetString()!;

            CollectionAssert.AreEqual(Ints(text, "input_ids"), tokenizer.Encode(content), content);
        }
    }

    [TestMethod]
    [DataRow("vocab.txt")]
    [DataRow("tokenizer.json")]
    public void EncodePair_RecordedPairs_EqualsIdsAndSegments(string file)
    {
        PipelineTokenizer tokenizer = (PipelineTokenizer)TokenizerLoader.Load(Fixtures.Require($"{Folder}/{file}"));
        foreach (JsonElement pair in Recorded().GetProperty("pairs").EnumerateArray())
        {
            (int[] ids, int[] typeIds) = tokenizer.EncodePair(pair.GetProperty("a").GetString()!, pair.GetProperty("b").GetString()!);

            CollectionAssert.AreEqual(Ints(pair, "input_ids"), ids);
            CollectionAssert.AreEqual(Ints(pair, "token_type_ids"), typeIds);
        }
    }

    [TestMethod]
    public void Load_Folder_PrefersTokenizerJsonAndReadsTheSpecialTokens()
    {
        ITextTokenizer tokenizer = TokenizerLoader.Load(Fixtures.Require(Folder));

        Assert.AreEqual(30522, tokenizer.VocabularySize);
        Assert.AreEqual(new SpecialTokens(Unknown: 100, Padding: 0), tokenizer.SpecialTokens);
    }

    [TestMethod]
    public void Decode_Sentence_TakesBackTheSplitting()
    {
        ITextTokenizer tokenizer = TokenizerLoader.Load(Fixtures.Require(Folder));

        Assert.AreEqual("the supercalifragilistic light, was it?", tokenizer.Decode(tokenizer.Encode("The supercalifragilistic  light, was it ?")));
    }

    private static JsonElement Recorded()
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(Fixtures.Require($"{Folder}/tokens.json")));
        return document.RootElement.Clone();
    }

    private static int[] Ints(JsonElement element, string name) => [.. element.GetProperty(name).EnumerateArray().Select(i => i.GetInt32())];
}
