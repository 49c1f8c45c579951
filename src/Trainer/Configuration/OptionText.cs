using System.Globalization;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Configuration;

/// <summary>Parses option values from text, with messages that say what would be right.</summary>
/// <remarks>Methods throw <see cref="FormatException"/> whose message goes on after "is 'text'; ".</remarks>
public static class OptionText
{
    internal static int Int(string text) => int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int value)
        ? value
        : throw new FormatException("it must be a whole number");

    internal static long Long(string text) => long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value)
        ? value
        : throw new FormatException("it must be a whole number");

    internal static double Double(string text) => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value)
        ? value
        : throw new FormatException("it must be a number");

    internal static bool Bool(string text) => text.ToLowerInvariant() switch
    {
        "true" or "yes" or "1" => true,
        "false" or "no" or "0" => false,
        _ => throw new FormatException("it must be true or false"),
    };

    /// <summary>Entries between commas or spaces, or on lines of their own.</summary>
    public static IReadOnlyList<string> List(string text) =>
        text.Split([',', ' ', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    /// <summary>Whole numbers between commas or spaces.</summary>
    public static IReadOnlyList<int> Ints(string text) => [.. List(text).Select(Int)];

    /// <summary><c>pattern=value</c> pairs between commas or on lines of their own; the last equals sign divides.</summary>
    internal static IReadOnlyDictionary<string, T> Pairs<T>(string text, Func<string, T> parse)
    {
        OrderedDictionary<string, T> pairs = new(StringComparer.Ordinal);
        foreach (string entry in Lines(text.Contains('\n') ? text : text.Replace(',', '\n')))
        {
            int divider = entry.LastIndexOf('=');
            if (divider <= 0)
            {
                throw new FormatException($"'{entry}' is not of the form pattern=value");
            }

            pairs[entry[..divider].Trim()] = parse(entry[(divider + 1)..].Trim());
        }

        return pairs;
    }

    private static string[] Lines(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    /// <summary>A member of an enumeration, written in lower case with dashes.</summary>
    internal static T Choice<T>(string text)
        where T : struct, Enum
    {
        foreach (T value in Enum.GetValues<T>())
        {
            if (Name(value).Equals(text.Trim().Replace('_', '-'), StringComparison.OrdinalIgnoreCase))
            {
                return value;
            }
        }

        throw new FormatException($"it must be one of {Choices<T>()}");
    }

    /// <summary>A member of an enumeration.</summary>
    /// <exception cref="ConfigurationException">There is no such member; names the flag.</exception>
    public static T ChoiceOf<T>(string flag, string text)
        where T : struct, Enum
    {
        try
        {
            return Choice<T>(text);
        }
        catch (FormatException e)
        {
            throw new ConfigurationException($"{flag} is '{text}'; {e.Message}.");
        }
    }

    /// <summary>All members of an enumeration, as a help text shows them.</summary>
    public static string Choices<T>()
        where T : struct, Enum => string.Join("|", Enum.GetValues<T>().Select(Name));

    /// <summary>The name of an enumeration's member in lower case; words divided by dashes.</summary>
    public static string Name<T>(T value)
        where T : struct, Enum => System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());
}
