using System.Text;
using OrtQLoRA.Graph;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Tokenizers.Llama2c;

namespace OrtQLoRA.Trainer.Tests.Tokenizers.Llama2c;

[TestClass]
public sealed class Llama2cTokenizerTests
{
    private static readonly string[] Words = ["harbour", "the", "light", "a", "Sea-fog", "of", "0", "12", "naïve", "灯台", "😀", "\n", "  ", "in", "the", "\u0007"];

    private static Llama2cTokenizer Fixture() => Llama2cTokenizer.Load(Fixtures.Require("tokenizers/aidreams_tok512.bin"));

    [TestMethod]
    [DataRow("")]
    [DataRow("a")]
    [DataRow(" leading space")]
    [DataRow("The old harbour.\nSecond line\ttab")]
    [DataRow("naïve café 灯台 😀👍🏽")]
    [DataRow("   many   spaces   ")]
    [DataRow("<s> is text here, <0x0A> too")]
    public void Decode_OfEncodedText_GivesTheTextBack(string text)
    {
        Llama2cTokenizer tokenizer = Fixture();

        Assert.AreEqual(text, tokenizer.Decode(tokenizer.Encode(text)));
        Assert.AreEqual(text, tokenizer.Decode(tokenizer.Encode(text, addSpecialTokens: false)));
    }

    [TestMethod]
    public void Encode_RandomTexts_EqualsTheExhaustiveSearch()
    {
        const int seed = 7;
        Llama2cTokenizer tokenizer = Fixture();
        Random random = new(seed);
        for (int round = 0; round < 200; round++)
        {
            string text = string.Join(random.Next(3) == 0 ? "" : " ", Enumerable.Range(0, random.Next(1, 12)).Select(_ => Words[random.Next(Words.Length)]));

            CollectionAssert.AreEqual(EncodeExhaustively(tokenizer, text), tokenizer.Encode(text), $"seed {seed}, round {round}: '{text}'");
        }
    }

    [TestMethod]
    public void Encode_LongText_StaysFast()
    {
        Llama2cTokenizer tokenizer = Fixture();
        string text = string.Concat(Enumerable.Repeat("the whispers of the unfolding light ", 3000));

        Assert.AreEqual(text, tokenizer.Decode(tokenizer.Encode(text)));
    }

    [TestMethod]
    public void Encode_LoneSurrogate_BecomesTheReplacementCharacter()
    {
        Llama2cTokenizer tokenizer = Fixture();

        Assert.AreEqual("a\uFFFDb", tokenizer.Decode(tokenizer.Encode("a\uD83Db")));
    }

    [TestMethod]
    public void Decode_SpecialTokensKept_ShowsThem()
    {
        Llama2cTokenizer tokenizer = Fixture();

        Assert.AreEqual("\n<s>\na\n</s>\n", tokenizer.Decode([.. tokenizer.Encode("a"), 2], skipSpecialTokens: false));
    }

    [TestMethod]
    [DataRow(-1)]
    [DataRow(512)]
    public void Decode_IdOutsideTheVocabulary_IsRefused(int id)
    {
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => Fixture().Decode([id]));
    }

    [TestMethod]
    public void Write_AfterRead_GivesTheSameBytes()
    {
        byte[] content = File.ReadAllBytes(Fixtures.Require("tokenizers/aidreams_tok512.bin"));
        using MemoryStream written = new();

        Llama2cVocabularyFile.Write(written, [.. Llama2cVocabularyFile.Read(content, "fixture")]);

        CollectionAssert.AreEqual(content, written.ToArray());
    }

    [TestMethod]
    public void Read_EveryTruncation_IsRefusedOrShorter()
    {
        byte[] content = File.ReadAllBytes(Fixtures.Require("tokenizers/aidreams_tok512.bin"));
        for (int length = 0; length < content.Length; length += 13)
        {
            try
            {
                Assert.IsLessThan(512, Llama2cVocabularyFile.Read(content.AsMemory(0, length), "cut").Count);
            }
            catch (ModelFormatException e)
            {
                StringAssert.Contains(e.Message, "'cut'");
            }
        }
    }

    // llama2.c's own loop: look at every adjacent pair, merge the best, start over.
    private static int[] EncodeExhaustively(Llama2cTokenizer tokenizer, string text)
    {
        Dictionary<string, int> ids = [];
        for (int id = Llama2cTokenizer.FirstTextId; id < tokenizer.VocabularySize; id++)
        {
            ids.TryAdd(Encoding.UTF8.GetString(tokenizer.Entries[id].Bytes.Span), id);
        }

        List<(string Text, int Id)> symbols = [];
        foreach (Rune rune in (" " + text).EnumerateRunes())
        {
            string character = rune.ToString();
            if (ids.TryGetValue(character, out int id))
            {
                symbols.Add((character, id));
            }
            else
            {
                symbols.AddRange(Encoding.UTF8.GetBytes(character).Select(b => ($"<{b}>", Llama2cTokenizer.FirstByteId + b)));
            }
        }

        while (true)
        {
            int best = -1;
            float bestScore = float.NegativeInfinity;
            for (int i = 0; i + 1 < symbols.Count; i++)
            {
                if (ids.TryGetValue(symbols[i].Text + symbols[i + 1].Text, out int id) && tokenizer.Entries[id].Score > bestScore)
                {
                    best = i;
                    bestScore = tokenizer.Entries[id].Score;
                }
            }

            if (best < 0)
            {
                return [Llama2cTokenizer.BeginningOfSequenceId, .. symbols.Select(s => s.Id)];
            }

            string merged = symbols[best].Text + symbols[best + 1].Text;
            symbols[best] = (merged, ids[merged]);
            symbols.RemoveAt(best + 1);
        }
    }
}
