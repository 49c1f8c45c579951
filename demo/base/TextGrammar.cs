using System.Globalization;
using System.Text;

namespace OrtQLoRA.Demo.Base;

/// <summary>
/// Writes texts from a grammar of rules with alternatives. In an alternative <c>[rule]</c> stands for any alternative of a
/// rule, <c>[x=rule]</c> keeps it as x too, <c>[x:rule]</c> keeps it without showing it, and <c>[x]</c> shows what was kept: its first
/// field, <c>[x.he]</c>, <c>[x.him]</c> and <c>[x.his]</c> the next ones (fields are parted by <c>|</c>). <c>[^x]</c> begins with a
/// capital; <c>[#2-9]</c> is a number, <c>[#00-59]</c> one with leading zeros.
/// </summary>
internal sealed class TextGrammar
{
    private const int MostDraws = 50;

    private static readonly string[] Fields = ["name", "he", "him", "his"];

    private readonly Dictionary<string, List<string>> _rules = new(StringComparer.Ordinal);

    public TextGrammar(IEnumerable<string> lines)
    {
        List<string>? alternatives = null;
        foreach (string line in lines.Select(l => l.Trim()))
        {
            if (line.EndsWith('=') && !line.StartsWith('-'))
            {
                alternatives = [];
                _rules.Add(line[..^1].Trim(), alternatives);
            }
            else if (line.StartsWith("- ", StringComparison.Ordinal))
            {
                alternatives!.Add(line[2..]);
            }
            else if (line.Length > 0 && !line.StartsWith('#'))
            {
                throw new FormatException($"'{line}' is neither a rule 'name =' nor an alternative '- text' nor a comment.");
            }
        }
    }

    /// <summary>Writes one text from the rule <c>text</c>.</summary>
    public string Write(Random random)
    {
        return CapitalizeSentences(Expand("[text]", random, new Dictionary<string, string>(StringComparer.Ordinal)));
    }

    private string Expand(string template, Random random, Dictionary<string, string> kept)
    {
        StringBuilder result = new();
        int done = 0;
        for (int open = template.IndexOf('['); open >= 0; open = template.IndexOf('[', done))
        {
            int close = template.IndexOf(']', open);
            result.Append(template, done, open - done).Append(ExpandOne(template[(open + 1)..close], random, kept));
            done = close + 1;
        }

        return result.Append(template, done, template.Length - done).ToString();
    }

    private string ExpandOne(string reference, Random random, Dictionary<string, string> kept)
    {
        if (reference[0] == '^')
        {
            return Capitalize(ExpandOne(reference[1..], random, kept));
        }

        if (reference[0] == '#')
        {
            string[] bounds = reference[1..].Split('-');
            int number = random.Next(int.Parse(bounds[0], CultureInfo.InvariantCulture), int.Parse(bounds[1], CultureInfo.InvariantCulture) + 1);
            return number.ToString(bounds[0].StartsWith('0') ? "00" : "0", CultureInfo.InvariantCulture);
        }

        int keeps = reference.IndexOfAny([':', '=']);
        if (keeps > 0)
        {
            string drawn = DrawAnother(reference[(keeps + 1)..], random, kept);
            kept[reference[..keeps]] = drawn;
            return reference[keeps] == '=' ? drawn.Split('|')[0] : "";
        }

        string[] path = reference.Split('.');
        if (kept.TryGetValue(path[0], out string? value))
        {
            return value.Split('|')[path.Length == 1 ? 0 : Array.IndexOf(Fields, path[1])];
        }

        return Expand(Draw(path[0], random), random, kept);
    }

    // Two characters of a story, or two places, should not be the same one.
    private string DrawAnother(string rule, Random random, Dictionary<string, string> kept)
    {
        string drawn = Expand(Draw(rule, random), random, kept);
        for (int i = 0; i < MostDraws && kept.ContainsValue(drawn); i++)
        {
            drawn = Expand(Draw(rule, random), random, kept);
        }

        return drawn;
    }

    private string Draw(string rule, Random random) => _rules.TryGetValue(rule, out List<string>? alternatives)
        ? alternatives[random.Next(alternatives.Count)]
        : throw new FormatException($"The grammar has no rule '{rule}', and nothing is kept under that name.");

    private static string CapitalizeSentences(string text)
    {
        StringBuilder result = new(text);
        for (int i = 0; i + 2 < result.Length; i++)
        {
            if (result[i] == '.' && result[i + 1] == ' ')
            {
                result[i + 2] = char.ToUpperInvariant(result[i + 2]);
            }
        }

        return Capitalize(result.ToString());
    }

    private static string Capitalize(string text) => text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..];
}
