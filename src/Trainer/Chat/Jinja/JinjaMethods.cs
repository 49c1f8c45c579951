namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>Attributes, elements and methods of values, as far as chat templates use Python's.</summary>
internal static class JinjaMethods
{
    internal static object? Attribute(object? value, string name)
    {
        if (value is JinjaUndefined undefined)
        {
            throw new JinjaException($"The chat template takes '{name}' of '{undefined.Name}', which is not set.");
        }

        return value is IDictionary<string, object?> map && map.TryGetValue(name, out object? found) ? found : (object?)Method(value, name) ?? JinjaUndefined.Of(name);
    }

    /// <summary>What <c>value.name</c> is: of a map, its methods go before its keys.</summary>
    internal static object? Member(object? value, string name) => value is IDictionary<string, object?> map && MapMethod(map, name) is JinjaFunction method ? method : Attribute(value, name);

    internal static object? Element(object? value, object? index) => (value, index) switch
    {
        (_, string name) => Attribute(value, name),
        (string text, long i) => At([.. text.EnumerateRunes().Select(r => r.ToString())], i),
        (IList<object?> list, long i) => At([.. list], i),
        _ => JinjaUndefined.Of(JinjaText.Of(index)),
    };

    /// <summary>Python's slice.</summary>
    internal static object? Slice(object? value, long? start, long? stop, long step)
    {
        if (step == 0)
        {
            throw new JinjaException("The chat template takes a slice with step 0.");
        }

        IReadOnlyList<object?> items = JinjaValues.Items(value);
        long count = items.Count;
        long Clamp(long? i, long otherwise) => i is not long given ? otherwise : Math.Clamp(given < 0 ? given + count : given, step > 0 ? 0 : -1, step > 0 ? count : count - 1);
        List<object?> taken = [];
        long last = Clamp(stop, step > 0 ? count : -1);
        for (long i = Clamp(start, step > 0 ? 0 : count - 1); step > 0 ? i < last : i > last; i += step)
        {
            taken.Add(items[(int)i]);
        }

        return value is string ? string.Concat(taken) : taken;
    }

    internal static List<object?> Items(object? value) => value is IDictionary<string, object?> map
        ? [.. map.Select(p => (object?)new List<object?> { p.Key, p.Value })]
        : throw new JinjaException($"The chat template takes the items of {JinjaText.Json(value)}, which is no map.");

    internal static string Capitalize(string text) => text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..].ToLowerInvariant();

    private static object? At(object?[] items, long index)
    {
        long place = index < 0 ? index + items.Length : index;
        return place >= 0 && place < items.Length ? items[place] : JinjaUndefined.Of($"[{index}]");
    }

    private static JinjaFunction? Method(object? value, string name) => value switch
    {
        string text => TextMethod(text, name),
        IDictionary<string, object?> map => MapMethod(map, name),
        IList<object?> list => name switch
        {
            "index" => a => (long)list.ToList().FindIndex(v => JinjaValues.AreEqual(v, a.Get(0, "value"))),
            "count" => a => (long)list.Count(v => JinjaValues.AreEqual(v, a.Get(0, "value"))),
            _ => null,
        },
        _ => null,
    };

    private static JinjaFunction? MapMethod(IDictionary<string, object?> map, string name) => name switch
    {
        "items" => _ => Items(map),
        "keys" => _ => map.Keys.Select(k => (object?)k).ToList(),
        "values" => _ => map.Values.ToList(),
        "get" => a => map.TryGetValue(JinjaText.Of(a.Get(0, "key")), out object? found) ? found : a.Get(1, "default"),
        _ => null,
    };

    private static JinjaFunction? TextMethod(string text, string name) => name switch
    {
        "strip" => a => a.Get(0, "chars") is string c ? text.Trim([.. c]) : text.Trim(),
        "lstrip" => a => a.Get(0, "chars") is string c ? text.TrimStart([.. c]) : text.TrimStart(),
        "rstrip" => a => a.Get(0, "chars") is string c ? text.TrimEnd([.. c]) : text.TrimEnd(),
        "split" => a => Split(text, a.Get(0, "sep") as string, a.Get(1, "maxsplit", -1L)),
        "splitlines" => _ => text.ReplaceLineEndings("\n").Split('\n').Select(l => (object?)l).ToList(),
        "startswith" => a => Any(a, p => text.StartsWith(p, StringComparison.Ordinal)),
        "endswith" => a => Any(a, p => text.EndsWith(p, StringComparison.Ordinal)),
        "upper" => _ => text.ToUpperInvariant(),
        "lower" => _ => text.ToLowerInvariant(),
        "title" => _ => System.Globalization.CultureInfo.InvariantCulture.TextInfo.ToTitleCase(text.ToLowerInvariant()),
        "capitalize" => _ => Capitalize(text),
        "replace" => a => Replace(text, a.Text(0, "old"), a.Text(1, "new"), a.Get(2, "count") as long?),
        "find" => a => (long)text.IndexOf(a.Text(0, "sub"), StringComparison.Ordinal),
        "rfind" => a => (long)text.LastIndexOf(a.Text(0, "sub"), StringComparison.Ordinal),
        "count" => a => (long)text.AsSpan().Count(a.Text(0, "sub")),
        "join" => a => string.Join(text, JinjaValues.Items(a.Get(0, "items")).Select(JinjaText.Of)),
        "isdigit" => _ => text.Length > 0 && text.All(char.IsDigit),
        "format" => a => a.Positional.Aggregate(text, (t, v) => t.IndexOf("{}", StringComparison.Ordinal) is >= 0 and int i ? t[..i] + JinjaText.Of(v) + t[(i + 2)..] : t),
        "removeprefix" => a => text.StartsWith(a.Text(0, "prefix"), StringComparison.Ordinal) ? text[a.Text(0, "prefix").Length..] : text,
        "removesuffix" => a => text.EndsWith(a.Text(0, "suffix"), StringComparison.Ordinal) ? text[..^a.Text(0, "suffix").Length] : text,
        _ => null,
    };

    private static bool Any(JinjaArguments arguments, Func<string, bool> fits) =>
        arguments.Get(0, "prefix") is string one ? fits(one) : JinjaValues.Items(arguments.Get(0, "prefix")).Any(p => fits(JinjaText.Of(p)));

    private static List<object?> Split(string text, string? separator, object? most)
    {
        int parts = most is long and >= 0 and long limit ? (int)limit + 1 : int.MaxValue;
        return separator is null
            ? [.. text.Split((char[]?)null, parts, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)]
            : [.. text.Split(separator, parts)];
    }

    private static string Replace(string text, string old, string by, long? count)
    {
        if (count is null || old.Length == 0)
        {
            return old.Length == 0 ? text : text.Replace(old, by, StringComparison.Ordinal);
        }

        string[] parts = text.Split(old, (int)Math.Min(count.Value + 1, int.MaxValue));
        return string.Join(by, parts);
    }
}
