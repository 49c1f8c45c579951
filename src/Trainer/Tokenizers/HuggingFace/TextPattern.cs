using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>The <c>pattern</c> of a component: a literal string or a regular expression over characters as Unicode counts them.</summary>
/// <remarks>
/// .NET matches halves of the characters beyond U+FFFF, which are of no class. A text that holds such characters is matched with each of
/// them replaced by one of its category below.
/// </remarks>
internal sealed class TextPattern(Regex regex)
{
    // A pattern comes from a file, so a hostile one must not run for ever.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <exception cref="ModelFormatException">There is no pattern, or .NET cannot read it.</exception>
    public static TextPattern Read(JsonElement component, string source)
    {
        JsonElement? pattern = component.MemberOrNull("pattern");
        return pattern?.StringOrNull("Regex") is { } expression ? Of(expression, source)
            : pattern?.StringOrNull("String") is { } literal ? new TextPattern(new Regex(Regex.Escape(literal), RegexOptions.CultureInvariant, Limit))
            : throw new ModelFormatException($"'{source}': a component needs \"pattern\": {{\"String\": ...}} or {{\"Regex\": ...}}; this has {pattern?.GetRawText() ?? "none"}.");
    }

    /// <summary>Reads an expression in the syntax that tokenizer files use (Oniguruma's).</summary>
    /// <exception cref="ModelFormatException">.NET cannot read the expression.</exception>
    public static TextPattern Of(string expression, string source)
    {
        try
        {
            return new TextPattern(new Regex(RegexSyntax.ToDotNet(expression), RegexOptions.CultureInvariant, Limit));
        }
        catch (ArgumentException e)
        {
            throw new ModelFormatException($"'{source}': the regular expression '{expression}' cannot be read by .NET: {e.Message}", e);
        }
    }

    public static bool IsMark(Rune rune) =>
        Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark;

    /// <summary>A function that puts a literal text in place of each match.</summary>
    public Func<string, string> Replacing(string content) => text =>
    {
        StringBuilder result = new(text.Length);
        int done = 0;
        foreach ((int start, int end) in Matches(text))
        {
            result.Append(text, done, start - done).Append(content);
            done = end;
        }

        return done == 0 ? text : result.Append(text, done, text.Length - done).ToString();
    };

    /// <summary>Where the pattern matches, from and to which place in the text; empty matches are left out.</summary>
    public IEnumerable<(int Start, int End)> Matches(string text)
    {
        int[]? places = null;
        string matched = text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF') < 0 ? text : WithStandIns(text, out places);
        for (Match match = regex.Match(matched); match.Success; match = match.NextMatch())
        {
            if (match.Length > 0)
            {
                int end = match.Index + match.Length;
                yield return places is null ? (match.Index, end) : (places[match.Index], places[end]);
            }
        }
    }

    /// <summary>The text with one char a character, and where each stands in the text.</summary>
    private static string WithStandIns(string text, out int[] places)
    {
        StringBuilder result = new(text.Length);
        List<int> starts = [];
        int place = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            starts.Add(place);
            place += char.IsSurrogatePair(text, place) ? 2 : 1;
            result.Append(rune.IsBmp ? (char)rune.Value : StandIn(rune));
        }

        starts.Add(place);
        places = [.. starts];
        return result.ToString();
    }

    private static char StandIn(Rune rune) => Rune.GetUnicodeCategory(rune) switch
    {
        // None lies among the scripts from U+0800 on, of which patterns name whole ranges, if there is another.
        UnicodeCategory.UppercaseLetter => '\u0186',
        UnicodeCategory.LowercaseLetter => '\u0250',
        UnicodeCategory.ModifierLetter => '\u02B0',
        UnicodeCategory.OtherLetter => rune.Value is >= 0x20000 and <= 0x3FFFF ? '\uFA0E' : '\u01BB',
        UnicodeCategory.NonSpacingMark => '\u0300',
        UnicodeCategory.SpacingCombiningMark => '\u0903',
        UnicodeCategory.EnclosingMark => '\u0488',
        UnicodeCategory.DecimalDigitNumber => '\u0660',
        UnicodeCategory.LetterNumber => '\u2160',
        UnicodeCategory.OtherNumber => '\u00B2',
        UnicodeCategory.DashPunctuation => '\u058A',
        UnicodeCategory.OpenPunctuation => '\uFE59',
        UnicodeCategory.ClosePunctuation => '\uFE5A',
        UnicodeCategory.OtherPunctuation => '\u00A7',
        UnicodeCategory.MathSymbol => '\u00AC',
        UnicodeCategory.CurrencySymbol => '\u00A2',
        UnicodeCategory.ModifierSymbol => '\u02C2',
        UnicodeCategory.OtherSymbol => '\u00A6',
        UnicodeCategory.Format => '\u00AD',
        UnicodeCategory.PrivateUse => '\uE000',
        _ => '\u0378',
    };
}
