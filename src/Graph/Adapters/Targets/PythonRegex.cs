using System.Text;
using System.Text.RegularExpressions;

namespace OrtQLoRA.Graph.Adapters.Targets;

/// <summary>
/// A regular expression of Python's <c>re</c> module, as PEFT's configuration files hold them, on .NET's engine.
/// Patterns come from files and are not trusted: matching is linear in time where the pattern allows it, and limited in
/// time where it does not.
/// </summary>
internal sealed class PythonRegex
{
    /// <summary>Longest time for one match, for patterns with look-around or back references.</summary>
    internal static readonly TimeSpan Timeout = TimeSpan.FromSeconds(1);

    private readonly Regex _regex;
    private readonly string _key;
    private readonly string _pattern;

    private PythonRegex(string key, string pattern, string anchored)
    {
        _key = key;
        _pattern = pattern;
        _regex = Compile(key, pattern, anchored);
    }

    /// <summary>The pattern as <c>re.fullmatch</c> takes it: the whole text must match.</summary>
    /// <param name="key">The configuration key that holds the pattern, for messages.</param>
    /// <param name="pattern">The pattern.</param>
    /// <exception cref="ConfigurationException">The pattern is no valid regular expression.</exception>
    public static PythonRegex FullMatch(string key, string pattern) => new(key, pattern, $@"\A(?:{Translate(pattern)})\z");

    /// <summary>A pattern as <c>re.match</c> takes it: it must match at the start.</summary>
    /// <param name="key">The configuration key that holds the pattern, for messages.</param>
    /// <param name="pattern">The part that the user gave, for messages.</param>
    /// <param name="around">The whole pattern, with <c>{0}</c> where the part stands.</param>
    /// <exception cref="ConfigurationException">The pattern is no valid regular expression.</exception>
    public static PythonRegex Match(string key, string pattern, string around = "{0}") =>
        new(key, pattern, $@"\A(?:{around.Replace("{0}", Translate(pattern), StringComparison.Ordinal)})");

    /// <summary>Whether the text matches.</summary>
    /// <exception cref="ConfigurationException">Matching took too long.</exception>
    public bool IsMatch(string text) => Find(text).Success;

    /// <summary>The match, with its groups.</summary>
    /// <exception cref="ConfigurationException">Matching took too long.</exception>
    public Match Find(string text)
    {
        try
        {
            return _regex.Match(text);
        }
        catch (RegexMatchTimeoutException)
        {
            throw new ConfigurationException(
                $"{_key}: matching '{_pattern}' against '{text}' took more than {Timeout.TotalSeconds:0} s. Simplify the pattern (nested repetitions are the usual cause).");
        }
    }

    private static Regex Compile(string key, string pattern, string anchored)
    {
        const RegexOptions Plain = RegexOptions.CultureInvariant;
        try
        {
            return new Regex(anchored, Plain | RegexOptions.NonBacktracking, Timeout);
        }
        catch (NotSupportedException)
        {
            // Look-around, back references and atomic groups need the backtracking engine.
            return new Regex(anchored, Plain, Timeout);
        }
        catch (ArgumentException e)
        {
            throw new ConfigurationException($"{key}: '{pattern}' is no valid regular expression ({e.Message}). Escape dots as '\\.', or give a list of module names instead.");
        }
    }

    // The two dialects agree except for: named groups (?P<n>..), (?P=n), (?P>n); \Z (Python: the very end); and {,n},
    // which .NET would read literally. Character classes and escapes are passed over untouched.
    private static string Translate(string pattern)
    {
        StringBuilder text = new(pattern.Length);
        bool inClass = false;
        for (int i = 0; i < pattern.Length; i++)
        {
            char c = pattern[i];
            if (c == '\\' && i + 1 < pattern.Length)
            {
                i++;
                text.Append('\\').Append(pattern[i] == 'Z' && !inClass ? 'z' : pattern[i]);
            }
            else if (inClass)
            {
                // In .NET '[a-z-[b]]' subtracts; Python reads the bracket as a character.
                inClass = c != ']';
                text.Append(c == '[' ? @"\[" : c);
            }
            else if (c == '[')
            {
                inClass = true;
                text.Append(c);
                i = CopyClassStart(pattern, i, text);
            }
            else if (At(pattern, i, "(?P<"))
            {
                text.Append("(?<");
                i += 3;
            }
            else if (At(pattern, i, "(?P="))
            {
                int end = pattern.IndexOf(')', i);
                end = end < 0 ? pattern.Length : end;
                text.Append(@"\k<").Append(pattern.AsSpan(i + 4, end - i - 4)).Append('>');
                i = end;
            }
            else if (At(pattern, i, "{,") && i + 2 < pattern.Length && char.IsAsciiDigit(pattern[i + 2]))
            {
                text.Append("{0,");
                i++;
            }
            else
            {
                text.Append(c);
            }
        }

        return text.ToString();
    }

    // '[]abc]' and '[^]abc]': a bracket right at the start stands for itself.
    private static int CopyClassStart(string pattern, int at, StringBuilder text)
    {
        if (At(pattern, at + 1, "^"))
        {
            text.Append('^');
            at++;
        }

        if (At(pattern, at + 1, "]"))
        {
            text.Append(@"\]");
            at++;
        }

        return at;
    }

    private static bool At(string pattern, int index, string expected) =>
        string.CompareOrdinal(pattern, index, expected, 0, expected.Length) == 0;
}
