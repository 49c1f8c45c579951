using System.Globalization;
using System.Text;
using OrtQLoRA.Trainer.Tokenizers.Unicode;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Normalizers;

/// <summary>Cleans text as BERT's own tokenizer does: in this order white space, ideographs, accents, case.</summary>
/// <param name="cleanText">Whether control characters go and every white space becomes a space.</param>
/// <param name="splitIdeographs">Whether each Chinese character becomes a word of its own.</param>
/// <param name="stripAccents">Whether accents go.</param>
/// <param name="lowerCase">Whether letters become lower case.</param>
internal sealed class BertNormalizer(bool cleanText, bool splitIdeographs, bool stripAccents, bool lowerCase)
{
    public string Normalize(string text)
    {
        string result = cleanText ? Clean(text) : text;
        result = splitIdeographs ? SplitIdeographs(result) : result;
        result = stripAccents ? StripAccents(result) : result;
        return lowerCase ? LowerCase(result) : result;
    }

    /// <summary>Text without its combining marks of category Mn, after canonical decomposition.</summary>
    public static string StripAccents(string text) => Map(
        UnicodeNormalizer.Normalize(text, NormalizationForm.FormD),
        (rune, result) =>
        {
            if (Rune.GetUnicodeCategory(rune) != UnicodeCategory.NonSpacingMark)
            {
                result.Append(rune);
            }
        });

    /// <summary>Lower case by Unicode's full mapping, which for one letter alone has two characters.</summary>
    public static string LowerCase(string text) => text.ToLowerInvariant().Replace("\u0130", "i\u0307", StringComparison.Ordinal);

    private static string Clean(string text) => Map(text, (rune, result) =>
    {
        if (rune.Value is '\t' or '\n' or '\r' || (Rune.IsWhiteSpace(rune) && !Rune.IsControl(rune)))
        {
            result.Append(' ');
        }
        else if (rune.Value is not (0 or 0xFFFD) && Rune.GetUnicodeCategory(rune) is not
            (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.PrivateUse
            or UnicodeCategory.Surrogate or UnicodeCategory.OtherNotAssigned))
        {
            result.Append(rune);
        }
    });

    private static string SplitIdeographs(string text) => Map(text, (rune, result) =>
    {
        if (IsIdeograph(rune.Value))
        {
            result.Append(' ').Append(rune).Append(' ');
        }
        else
        {
            result.Append(rune);
        }
    });

    private static bool IsIdeograph(int code) => code is
        (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0x20000 and <= 0x2A6DF) or (>= 0x2A700 and <= 0x2B73F)
        or (>= 0x2B740 and <= 0x2B81F) or (>= 0x2B820 and <= 0x2CEAF) or (>= 0xF900 and <= 0xFAFF) or (>= 0x2F800 and <= 0x2FA1F);

    private static string Map(string text, Action<Rune, StringBuilder> append)
    {
        StringBuilder result = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            append(rune, result);
        }

        return result.ToString();
    }
}
