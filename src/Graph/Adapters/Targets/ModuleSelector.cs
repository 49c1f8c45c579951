using System.Buffers;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace OrtQLoRA.Graph.Adapters.Targets;

/// <summary>
/// Which modules are meant, as PEFT writes it: a list of names, one regular expression, or <c>all-linear</c>.
/// </summary>
public sealed class ModuleSelector
{
    /// <summary>The word that stands for every linear layer except the output head.</summary>
    public const string AllLinearWord = "all-linear";

    /// <summary>Characters that occur in regular expressions but in no module path.</summary>
    private static readonly SearchValues<char> RegexCharacters = SearchValues.Create("*+?^$|()[]{}\\");

    private ModuleSelector(IReadOnlyList<string>? names, string? regex)
    {
        Names = names;
        Regex = regex;
    }

    /// <summary>Every linear layer except the output head.</summary>
    public static ModuleSelector AllLinear { get; } = new(null, null);

    /// <summary>Names, or null if the selector is a regular expression or <c>all-linear</c>.</summary>
    public IReadOnlyList<string>? Names { get; }

    /// <summary>The regular expression (Python's dialect, full match), or null.</summary>
    public string? Regex { get; }

    /// <summary>Whether this is <c>all-linear</c>.</summary>
    public bool IsAllLinear => Names is null && Regex is null;

    /// <summary>A selector of names: a module is meant whose path is a name or ends with a dot and a name.</summary>
    public static ModuleSelector OfNames(params IEnumerable<string> names) => new([.. names], null);

    /// <summary>A selector by one regular expression, which must match the whole module path.</summary>
    public static ModuleSelector OfRegex(string regex) =>
        string.Equals(regex, AllLinearWord, StringComparison.OrdinalIgnoreCase) ? AllLinear : new(null, regex);

    /// <summary>
    /// Reads what a person writes: names between commas, spaces or line ends, or one regular expression, which is text on one line with
    /// characters that no module path has.
    /// </summary>
    public static ModuleSelector Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return !text.Contains('\n') && (text.Trim() == AllLinearWord || text.AsSpan().ContainsAny(RegexCharacters))
            ? OfRegex(text.Trim())
            : OfNames(text.Split([',', ' ', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
    }

    /// <summary>Reads the JSON form: a string or a list of strings.</summary>
    /// <param name="key">Configuration key, for messages.</param>
    /// <param name="node">The JSON value; null gives null.</param>
    /// <exception cref="ConfigurationException">The value has another form.</exception>
    public static ModuleSelector? FromJson(string key, JsonNode? node) => node switch
    {
        null => null,
        JsonValue value when value.GetValueKind() == JsonValueKind.String => OfRegex(value.GetValue<string>()),
        JsonArray array when array.All(e => e?.GetValueKind() == JsonValueKind.String) => OfNames(array.Select(e => e!.GetValue<string>())),
        _ => throw new ConfigurationException($"{key}: {node.ToJsonString()} is neither a list of module names nor a string."),
    };

    /// <summary>The JSON form.</summary>
    public JsonNode ToJson() => Names is not null
        ? new JsonArray([.. Names.Select(n => (JsonNode)JsonValue.Create(n))])
        : JsonValue.Create(Regex ?? AllLinearWord);

    /// <inheritdoc/>
    public override string ToString() => Names is null ? Regex ?? AllLinearWord : string.Join(", ", Names);
}
