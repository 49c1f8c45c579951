using System.Text;
using OrtQLoRA.Trainer.Tokenizers.Unicode;

namespace OrtQLoRA.Trainer.Tests.Tokenizers.Unicode;

[TestClass]
public sealed class UnicodeNormalizerTests
{
    // The examples of Unicode Standard Annex 15 and of its conformance file NormalizationTest.txt.
    [TestMethod]
    [DataRow("plain", "plain", "plain", "plain", "plain")]
    [DataRow("\u00C5", "\u00C5", "A\u030A", "\u00C5", "A\u030A")]
    [DataRow("\u212B", "\u00C5", "A\u030A", "\u00C5", "A\u030A")]
    [DataRow("\u1E9B\u0323", "\u1E9B\u0323", "\u017F\u0323\u0307", "\u1E69", "s\u0323\u0307")]
    [DataRow("\u1E0A\u0323", "\u1E0C\u0307", "D\u0323\u0307", "\u1E0C\u0307", "D\u0323\u0307")]
    [DataRow("\uFB01x\u00B2", "\uFB01x\u00B2", "\uFB01x\u00B2", "fix2", "fix2")]
    [DataRow("\uD55C\uAE00", "\uD55C\uAE00", "\u1112\u1161\u11AB\u1100\u1173\u11AF", "\uD55C\uAE00", "\u1112\u1161\u11AB\u1100\u1173\u11AF")]
    [DataRow("\uFF76\uFF9E", "\uFF76\uFF9E", "\uFF76\uFF9E", "\u30AC", "\u30AB\u3099")]
    [DataRow("\u0958", "\u0915\u093C", "\u0915\u093C", "\u0915\u093C", "\u0915\u093C")]
    [DataRow("\u0344", "\u0308\u0301", "\u0308\u0301", "\u0308\u0301", "\u0308\u0301")]
    [DataRow("\U0001D15E", "\U0001D157\U0001D165", "\U0001D157\U0001D165", "\U0001D157\U0001D165", "\U0001D157\U0001D165")]
    [DataRow("\u0061\u0315\u0300\u05AE\u0062", "\u00E0\u05AE\u0315\u0062", "\u0061\u05AE\u0300\u0315\u0062", "\u00E0\u05AE\u0315\u0062", "\u0061\u05AE\u0300\u0315\u0062")]
    [DataRow("\u1100\uAC00\u11A8", "\u1100\uAC01", "\u1100\u1100\u1161\u11A8", "\u1100\uAC01", "\u1100\u1100\u1161\u11A8")]
    public void Normalize_StandardExamples_GiveEachForm(string text, string c, string d, string kc, string kd)
    {
        Assert.AreEqual(c, UnicodeNormalizer.Normalize(text, NormalizationForm.FormC));
        Assert.AreEqual(d, UnicodeNormalizer.Normalize(text, NormalizationForm.FormD));
        Assert.AreEqual(kc, UnicodeNormalizer.Normalize(text, NormalizationForm.FormKC));
        Assert.AreEqual(kd, UnicodeNormalizer.Normalize(text, NormalizationForm.FormKD));
    }

    [TestMethod]
    public void Normalize_EveryCharacter_IsStableAndConsistent()
    {
        for (int code = 0; code <= 0x10FFFF; code += code == 0xD7FF ? 0x801 : 1)
        {
            string text = new Rune(code).ToString();
            string d = UnicodeNormalizer.Normalize(text, NormalizationForm.FormD);
            string c = UnicodeNormalizer.Normalize(text, NormalizationForm.FormC);

            Assert.AreEqual(d, UnicodeNormalizer.Normalize(d, NormalizationForm.FormD), $"U+{code:X4}");
            Assert.AreEqual(c, UnicodeNormalizer.Normalize(d, NormalizationForm.FormC), $"U+{code:X4}");
            Assert.AreEqual(d, UnicodeNormalizer.Normalize(c, NormalizationForm.FormD), $"U+{code:X4}");
        }
    }
}
