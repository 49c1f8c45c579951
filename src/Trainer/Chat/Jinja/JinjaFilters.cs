using System.Globalization;

namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>The filters that chat templates use.</summary>
internal static class JinjaFilters
{
    private static readonly Dictionary<string, Func<object?, JinjaArguments, object?>> Filters = new(StringComparer.Ordinal)
    {
        ["abs"] = (v, _) => v is long n ? (object)Math.Abs(n) : Math.Abs(JinjaValues.ToDouble(v)),
        ["capitalize"] = (v, _) => JinjaMethods.Capitalize(JinjaText.Of(v)),
        ["count"] = (v, _) => Length(v),
        ["d"] = Default,
        ["default"] = Default,
        ["dictsort"] = (v, _) => ((IDictionary<string, object?>)v!).OrderBy(p => p.Key, StringComparer.OrdinalIgnoreCase).Select(p => (object?)new List<object?> { p.Key, p.Value }).ToList(),
        ["e"] = (v, _) => JinjaText.Of(v),
        ["escape"] = (v, _) => System.Net.WebUtility.HtmlEncode(JinjaText.Of(v)),
        ["first"] = (v, _) => JinjaValues.Items(v).FirstOrDefault(JinjaUndefined.Of("first")),
        ["float"] = (v, _) => double.TryParse(JinjaText.Of(v), NumberStyles.Float, CultureInfo.InvariantCulture, out double number) ? number : 0.0,
        ["indent"] = Indent,
        ["int"] = (v, _) => v is double n ? (long)n : double.TryParse(JinjaText.Of(v), NumberStyles.Float, CultureInfo.InvariantCulture, out double number) ? (long)number : 0L,
        ["items"] = (v, _) => v is JinjaUndefined ? new List<object?>() : JinjaMethods.Items(v),
        ["join"] = (v, a) => string.Join(JinjaText.Of(a.Get(0, "d", "")), JinjaValues.Items(v).Select(i => JinjaText.Of(a.Get(1, "attribute") is string name ? JinjaMethods.Attribute(i, name) : i))),
        ["last"] = (v, _) => JinjaValues.Items(v).LastOrDefault(JinjaUndefined.Of("last")),
        ["length"] = (v, _) => Length(v),
        ["list"] = (v, _) => JinjaValues.Items(v).ToList(),
        ["lower"] = (v, _) => JinjaText.Of(v).ToLowerInvariant(),
        ["map"] = Map,
        ["max"] = (v, _) => JinjaValues.Items(v).Aggregate((a, b) => JinjaValues.Compare(a, b) >= 0 ? a : b),
        ["min"] = (v, _) => JinjaValues.Items(v).Aggregate((a, b) => JinjaValues.Compare(a, b) <= 0 ? a : b),
        ["reject"] = (v, a) => Chosen(v, a, i => i, false, 0),
        ["rejectattr"] = (v, a) => Chosen(v, a, i => JinjaMethods.Attribute(i, a.Text(0, "attribute")), false, 1),
        ["replace"] = (v, a) => JinjaText.Of(v).Replace(a.Text(0, "old"), a.Text(1, "new"), StringComparison.Ordinal),
        ["reverse"] = (v, _) => v is string text ? string.Concat(text.Reverse()) : JinjaValues.Items(v).Reverse().ToList(),
        ["round"] = (v, a) => Math.Round(JinjaValues.ToDouble(v), (int)JinjaValues.ToDouble(a.Get(0, "precision", 0L))),
        ["safe"] = (v, _) => v,
        ["select"] = (v, a) => Chosen(v, a, i => i, true, 0),
        ["selectattr"] = (v, a) => Chosen(v, a, i => JinjaMethods.Attribute(i, a.Text(0, "attribute")), true, 1),
        ["sort"] = (v, a) => Sorted(v, a),
        ["string"] = (v, _) => JinjaText.Of(v),
        ["sum"] = (v, _) => JinjaValues.Items(v).All(i => i is long) ? (object)JinjaValues.Items(v).Sum(i => (long)i!) : JinjaValues.Items(v).Sum(JinjaValues.ToDouble),
        ["title"] = (v, _) => CultureInfo.InvariantCulture.TextInfo.ToTitleCase(JinjaText.Of(v).ToLowerInvariant()),
        ["tojson"] = (v, a) => JinjaText.Json(v, a.Get(0, "indent") is long indent ? (int)indent : null),
        ["trim"] = (v, a) => a.Get(0, "chars") is string chars ? JinjaText.Of(v).Trim([.. chars]) : JinjaText.Of(v).Trim(),
        ["unique"] = (v, _) => JinjaValues.Items(v).Aggregate(new List<object?>(), (list, i) => list.Any(o => JinjaValues.AreEqual(o, i)) ? list : [.. list, i]),
        ["upper"] = (v, _) => JinjaText.Of(v).ToUpperInvariant(),
    };

    internal static Func<object?, JinjaArguments, object?>? Find(string name) => Filters.GetValueOrDefault(name);

    internal static long Length(object? value) => value is string text ? text.EnumerateRunes().Count() : JinjaValues.Items(value).Count;

    private static object? Default(object? value, JinjaArguments arguments) =>
        value is JinjaUndefined || (JinjaValues.IsTrue(arguments.Get(1, "boolean", false)) && !JinjaValues.IsTrue(value)) ? arguments.Get(0, "default_value", "") : value;

    private static string Indent(object? value, JinjaArguments arguments)
    {
        string margin = arguments.Get(0, "width", 4L) is string text ? text : new string(' ', (int)JinjaValues.ToDouble(arguments.Get(0, "width", 4L)));
        bool indentsFirst = JinjaValues.IsTrue(arguments.Get(1, "first", false));
        return string.Join('\n', JinjaText.Of(value).Split('\n').Select((line, i) => line.Length == 0 || (i == 0 && !indentsFirst) ? line : margin + line));
    }

    private static object? Map(object? value, JinjaArguments arguments)
    {
        if (arguments.Named.TryGetValue("attribute", out object? attribute))
        {
            return JinjaValues.Items(value).Select(i => JinjaMethods.Attribute(i, JinjaText.Of(attribute)) is var found && found is JinjaUndefined ? arguments.Get(9, "default", found) : found).ToList();
        }

        string name = arguments.Text(0, "filter");
        Func<object?, JinjaArguments, object?> filter = Find(name) ?? throw new JinjaException($"The chat template maps by the filter '{name}', which is not known.");
        JinjaArguments rest = new([.. arguments.Positional.Skip(1)], arguments.Named);
        return JinjaValues.Items(value).Select(i => filter(i, rest)).ToList();
    }

    private static List<object?> Chosen(object? value, JinjaArguments arguments, Func<object?, object?> part, bool wanted, int test) =>
        [.. JinjaValues.Items(value).Where(i => JinjaTests.Apply((string?)arguments.Get(test, "test") ?? "true-like", part(i), [.. arguments.Positional.Skip(test + 1)]) == wanted)];

    private static List<object?> Sorted(object? value, JinjaArguments arguments)
    {
        Comparer<object?> order = Comparer<object?>.Create(JinjaValues.Compare);
        IEnumerable<object?> sorted = JinjaValues.Items(value).OrderBy(i => arguments.Named.GetValueOrDefault("attribute") is string name ? JinjaMethods.Attribute(i, name) : i, order);
        return [.. JinjaValues.IsTrue(arguments.Get(0, "reverse", false)) ? sorted.Reverse() : sorted];
    }
}
