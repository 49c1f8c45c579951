using System.Text;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Tokenizers.Llama2c;

namespace OrtQLoRA.Trainer.Tests.Tokenizers.Llama2c;

[TestClass]
public sealed class Llama2cVocabularyTrainerTests
{
    private static readonly string[] Texts =
    [
        "low low low low low lower lower newest newest newest newest newest newest widest widest widest",
        "The tide, the tide: 1234 boats!\nnaïve",
    ];

    [TestMethod]
    public void Train_TextsWithFrequentPairs_LearnsThem()
    {
        string[] tokens = [.. Llama2cVocabularyTrainer.Train(Texts, 310).Skip(Llama2cTokenizer.FirstTextId).Select(e => Encoding.UTF8.GetString(e.Bytes.Span))];

        // Sennrich et al. 2016, algorithm 1: "es" and "est" come first for this text.
        CollectionAssert.AreEqual(new[] { "es", "est" }, tokens[..2]);
        CollectionAssert.Contains(tokens, " low");
        CollectionAssert.Contains(tokens, "ï");
        Assert.IsFalse(tokens.Any(t => t.LastIndexOf(' ') > 0), "a token crosses words");
    }

    [TestMethod]
    public void Train_SameTexts_GivesTheSameVocabularyWithinItsSize()
    {
        IReadOnlyList<VocabularyEntry> first = Llama2cVocabularyTrainer.Train(Texts, 300);
        IReadOnlyList<VocabularyEntry> second = Llama2cVocabularyTrainer.Train(Texts, 300);

        Assert.HasCount(300, first);
        CollectionAssert.AreEqual(first.Select(e => Convert.ToHexString(e.Bytes.Span)).ToArray(), second.Select(e => Convert.ToHexString(e.Bytes.Span)).ToArray());
        Assert.AreEqual(first.Count, first.Select(e => Convert.ToHexString(e.Bytes.Span)).Distinct().Count(), "tokens stand twice");
    }

    [TestMethod]
    public void Train_ThenTokenize_RoundTripsAnyText()
    {
        Llama2cTokenizer tokenizer = new(Llama2cVocabularyTrainer.Train(Texts, 300));

        foreach (string text in (string[])[.. Texts, "Unseen: 世界 \t\r\n 😀", ""])
        {
            Assert.AreEqual(text, tokenizer.Decode(tokenizer.Encode(text)));
        }

        Assert.IsLessThan(Texts[0].Length / 2, tokenizer.Encode(Texts[0]).Length);
    }

    [TestMethod]
    public void Train_TooSmallAVocabulary_SaysWhatIsNeeded()
    {
        ConfigurationException e = Assert.ThrowsExactly<ConfigurationException>(() => Llama2cVocabularyTrainer.Train(Texts, 262));

        StringAssert.Contains(e.Message, "262");
    }
}
