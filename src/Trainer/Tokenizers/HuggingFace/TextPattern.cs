using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>The <c>pattern</c> of a component: a literal string or a regular expression.</summary>
internal sealed class TextPattern(Regex regex)
{
    // A pattern comes from a file, so a hostile one must not run for ever.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    public Regex Regex { get; } = regex;

    /// <exception cref="ModelFormatException">There is no pattern, or .NET cannot read it.</exception>
    public static TextPattern Read(JsonElement component, string source)
    {
        JsonElement? pattern = component.MemberOrNull("pattern");
        string? expression = pattern?.StringOrNull("Regex")
            ?? (pattern?.StringOrNull("String") is { } literal ? Regex.Escape(literal) : null)
            ?? throw new ModelFormatException($"'{source}': a component needs \"pattern\": {{\"String\": ...}} or {{\"Regex\": ...}}; this has {pattern?.GetRawText() ?? "none"}.");
        return Of(expression, source);
    }

    /// <exception cref="ModelFormatException">.NET cannot read the expression.</exception>
    public static TextPattern Of(string expression, string source)
    {
        try
        {
            return new TextPattern(new Regex(expression, RegexOptions.CultureInvariant, Limit));
        }
        catch (ArgumentException e)
        {
            throw new ModelFormatException($"'{source}': the regular expression '{expression}' cannot be read by .NET: {e.Message}", e);
        }
    }

    public static bool IsMark(Rune rune) =>
        Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark;

    /// <summary>A function that puts a literal text in place of each match.</summary>
    public Func<string, string> Replacing(string content) => text => Regex.Replace(text, _ => content);
}
