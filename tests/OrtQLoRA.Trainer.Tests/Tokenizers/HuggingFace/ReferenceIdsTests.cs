using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Tokenizers;

namespace OrtQLoRA.Trainer.Tests.Tokenizers.HuggingFace;

/// <summary>Small tokenizer.json files with the ids and texts that Hugging Face's own library (tokenizers, in Rust) makes with them.</summary>
[TestClass]
public sealed class ReferenceIdsTests
{
    // Replaces \uFF28 by H, \uFB01 by fi, \u00BD by 1/2, e with U+0301 by \u00E9, e by itself, U+200B by nothing.
    private const string CharacterMap =
        "8AMAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAJAACAgQUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACsCAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAvA" +
        "QAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAgAQAAAAAAABlBQAADAAAgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAUAAIC9BQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
        "AAAAAADMBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIEFAAACAACAAAAAAMIEAA" +
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
        "AAAAAAAAAAAAAAAA4gQAAAAAAAAAAAAAAAAAAAAAAACLBQAADgAAgAAAAAAAAAAAAAAAAAAAAADvBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACoBQAAAAAAgE" +
        "gAZmkAMS8yAMOpAGUAAA==";

    private const string Unigram = """
        {"version": "1.0", "added_tokens": [{"id": 0, "content": "<unk>", "special": true, "normalized": false, "single_word": false, "lstrip": false, "rstrip": false}, {"id": 1, "content": "</s>", "special": true, "normalized": false, "single_word": false, "lstrip": false, "rstrip": false}, {"id": 23, "content": "<extra>", "special": true, "normalized": false, "single_word": false, "lstrip": true, "rstrip": false}], "normalizer": {"type": "Precompiled", "precompiled_charsmap": "CHARSMAP"}, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": true, "prepend_scheme": "always"}, "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}], "pair": [], "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}}, "decoder": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": true, "prepend_scheme": "always"}, "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["</s>", 0.0], ["▁", -3.0], ["▁H", -4.0], ["ello", -4.5], ["H", -6.0], ["e", -5.0], ["l", -5.0], ["o", -5.0], ["lo", -5.5], ["é", -6.0], ["fi", -5.2], ["f", -7.0], ["i", -7.0], ["1", -6.0], ["/", -6.0], ["2", -6.0], ["▁w", -5.0], ["or", -5.0], ["ld", -5.0], ["r", -7.5], ["d", -7.5], ["w", -7.5]]}}
        """;

    [TestMethod]
    [DataRow("Hello world", new[] { 3, 4, 17, 18, 19, 1 }, "Hello world")]
    [DataRow("\uFF28ello", new[] { 3, 4, 1 }, "Hello")]
    [DataRow("\uFB01 \u00BD e\u0301 \u00E9", new[] { 2, 11, 2, 14, 15, 16, 2, 6, 2, 10, 1 }, "fi 1/2 e \u00E9")]
    [DataRow("he\u200Bllo", new[] { 2, 0, 4, 1 }, "ello")]
    [DataRow("\u65E5\u672C Hello<extra>", new[] { 2, 0, 3, 4, 23, 1 }, " Hello")]
    [DataRow("Hello  <extra> world", new[] { 3, 4, 23, 17, 18, 19, 1 }, "Hello world")]
    [DataRow("", new[] { 1 }, "")]
    [DataRow("   ", new[] { 2, 2, 2, 1 }, "  ")]
    public void Encode_UnigramWithCharacterMap_IsTheReference(string text, int[] ids, string decoded)
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", Unigram.Replace("CHARSMAP", CharacterMap, StringComparison.Ordinal));
        ITextTokenizer tokenizer = TokenizerLoader.Load(folder.File("tokenizer.json"));

        CollectionAssert.AreEqual(ids, tokenizer.Encode(text));
        Assert.AreEqual(decoded, tokenizer.Decode(ids));
    }

    [TestMethod]
    [DataRow("hello hello", new[] { 259, 260 })]
    [DataRow("ab12345", new[] { 261, 263, 52, 53 })]
    [DataRow("\U0001F600ab \U00020000ab", new[] { 240, 159, 152, 128, 261, 32, 240, 160, 128, 128, 261 })]
    [DataRow("zed azed zed.<|x|>ab", new[] { 265, 32, 97, 122, 101, 100, 32, 265, 46, 264, 261 })]
    [DataRow("it'S ab", new[] { 105, 116, 39, 83, 32, 261 })]
    [DataRow("e\u0301", new[] { 195, 169 })]
    [DataRow("\U0001D4B3\n\n ab  ab", new[] { 240, 157, 146, 179, 10, 10, 32, 261, 32, 32, 261 })]
    public void Encode_ByteLevelWithPossessivePattern_IsTheReference(string text, int[] ids)
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", TokenizerSamples.ByteLevelJson());
        ITextTokenizer tokenizer = TokenizerLoader.Load(folder.File("tokenizer.json"));

        // The reference numbers bytes by their value and tokens from 256 on.
        CollectionAssert.AreEqual(ids, tokenizer.Encode(text));
    }

    [TestMethod]
    [DataRow("AAAA", "charsmap")]
    [DataRow("not base64", "base64")]
    public void Load_DamagedCharacterMap_NamesFileAndFault(string map, string fault)
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", Unigram.Replace("CHARSMAP", map, StringComparison.Ordinal));

        ModelFormatException e = Assert.ThrowsExactly<ModelFormatException>(() => TokenizerLoader.Load(folder.File("tokenizer.json")));

        Assert.Contains("tokenizer.json", e.Message);
        Assert.Contains(fault, e.Message);
    }

    [TestMethod]
    [DataRow("normalizer")]
    [DataRow("pre_tokenizer")]
    [DataRow("post_processor")]
    [DataRow("decoder")]
    public void Load_UnknownComponent_NamesItAndWhatIsKnown(string role)
    {
        using TemporaryFolder folder = new();
        using JsonDocument document = JsonDocument.Parse(TokenizerSamples.ByteLevelJson());
        Dictionary<string, object> root = document.RootElement.EnumerateObject().ToDictionary(p => p.Name, p => (object)p.Value);
        root[role] = new { type = "FromTheFuture" };
        folder.Write("tokenizer.json", JsonSerializer.Serialize(root));

        ModelFormatException e = Assert.ThrowsExactly<ModelFormatException>(() => TokenizerLoader.Load(folder.File("tokenizer.json")));

        Assert.Contains("'FromTheFuture'", e.Message);
        Assert.Contains("ByteLevel", e.Message);
    }
}
