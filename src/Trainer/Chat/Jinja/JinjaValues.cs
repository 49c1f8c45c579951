using System.Collections;
using System.Text.Json;

namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>
/// Values of templates: null, bool, long, double, string, lists (<see cref="List{T}"/> of objects), maps, and functions.
/// Comparisons and truth are Python's.
/// </summary>
internal static class JinjaValues
{
    internal static object? OfJson(JsonElement json) => json.ValueKind switch
    {
        JsonValueKind.Object => json.EnumerateObject().Aggregate(new OrderedDictionary<string, object?>(), (map, p) =>
        {
            map[p.Name] = OfJson(p.Value);
            return map;
        }),
        JsonValueKind.Array => json.EnumerateArray().Select(OfJson).ToList(),
        JsonValueKind.String => json.GetString(),
        JsonValueKind.Number => json.TryGetInt64(out long number) ? (object)number : json.GetDouble(),
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => null,
    };

    internal static bool IsTrue(object? value) => value switch
    {
        null or JinjaUndefined or false or 0L or 0.0 or "" => false,
        ICollection { Count: 0 } => false,
        _ => true,
    };

    internal static bool AreEqual(object? a, object? b) => (a, b) switch
    {
        (long x, double y) => x == y,
        (double x, long y) => x == y,
        (bool x, long y) => (x ? 1 : 0) == y,
        (long x, bool y) => x == (y ? 1 : 0),
        (JinjaUndefined, JinjaUndefined) => true,
        (IDictionary<string, object?> x, IDictionary<string, object?> y) => x.Count == y.Count && x.All(p => y.TryGetValue(p.Key, out object? v) && AreEqual(p.Value, v)),
        (IList<object?> x, IList<object?> y) => x.Count == y.Count && x.Zip(y, AreEqual).All(e => e),
        _ => Equals(a, b),
    };

    internal static int Compare(object? a, object? b) => (a, b) switch
    {
        (string x, string y) => string.CompareOrdinal(x, y),
        _ when IsNumber(a) && IsNumber(b) => ToDouble(a).CompareTo(ToDouble(b)),
        _ => throw new JinjaException($"The chat template compares {JinjaText.Json(a)} with {JinjaText.Json(b)}, which have no order."),
    };

    internal static bool Contains(object? collection, object? item) => collection switch
    {
        string text => item is string part && text.Contains(part, StringComparison.Ordinal),
        IDictionary<string, object?> map => item is string key && map.ContainsKey(key),
        IEnumerable list => list.Cast<object?>().Any(v => AreEqual(v, item)),
        JinjaUndefined or null => false,
        _ => throw new JinjaException($"The chat template looks for something in {JinjaText.Json(collection)}, which is no list."),
    };

    internal static bool IsNumber(object? value) => value is long or double or bool;

    internal static double ToDouble(object? value) => value switch
    {
        long number => number,
        double number => number,
        bool flag => flag ? 1 : 0,
        _ => throw new JinjaException($"The chat template needs a number where it has {JinjaText.Json(value)}."),
    };

    /// <summary>The elements of a list, the keys of a map, the characters of a text.</summary>
    internal static IReadOnlyList<object?> Items(object? value) => value switch
    {
        string text => [.. text.EnumerateRunes().Select(r => (object?)r.ToString())],
        IDictionary<string, object?> map => [.. map.Keys],
        IEnumerable list => [.. list.Cast<object?>()],
        JinjaUndefined => [],
        _ => throw new JinjaException($"The chat template goes through {JinjaText.Json(value)}, which is no list."),
    };
}
