using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targets;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>Takes typed values out of a configuration file and gathers every fault.</summary>
internal sealed class ConfigReader
{
    private readonly JsonObject _json;
    private readonly string _source;
    private readonly List<string> _faults = [];

    public ConfigReader(JsonObject json, string source)
    {
        _json = json;
        _source = source;
    }

    /// <summary>Throws if there were faults.</summary>
    /// <exception cref="ConfigurationException">Lists every fault.</exception>
    public void ThrowIfFaulty()
    {
        if (_faults.Count > 0)
        {
            throw new ConfigurationException(_faults);
        }
    }

    public void Fault(string fault) => _faults.Add($"{_source}: {fault}");

    /// <summary>Takes over the faults of a reader of a part.</summary>
    public void TakeFaults(ConfigReader part) => _faults.AddRange(part._faults.Select(f => $"{_source}: {f}"));

    public JsonNode? Node(string key) => _json[key];

    /// <summary>Whether a key is absent, null, false, or an empty list or object.</summary>
    public bool IsUnset(string key) => _json[key] switch
    {
        null => true,
        JsonArray array => array.Count == 0,
        JsonObject table => table.Count == 0,
        JsonValue value => value.GetValueKind() == JsonValueKind.False,
        _ => false,
    };

    public string? Text(string key) => Take<string?>(key, null, "a string", n => n.GetValueKind() == JsonValueKind.String ? n.GetValue<string>() : null);

    /// <summary>A table of flags or lists of flags is not read here; only whether the key holds an object.</summary>
    public JsonObject? Object(string key) => Take<JsonObject>(key, null, "an object", n => n as JsonObject);

    public bool Flag(string key, bool defaultValue) => Take(key, defaultValue, "true or false", n => n.GetValueKind() switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => (bool?)null,
    });

    public int Integer(string key, int defaultValue) => Take(key, defaultValue, "an integer", AsInteger);

    public double Number(string key, double defaultValue) => Take(key, defaultValue, "a number", AsNumber);

    public IReadOnlyList<string>? Texts(string key) => Take<IReadOnlyList<string>>(key, null, "a string or a list of strings", n => n switch
    {
        JsonValue v when v.GetValueKind() == JsonValueKind.String => [v.GetValue<string>()],
        JsonArray a when a.All(e => e?.GetValueKind() == JsonValueKind.String) => [.. a.Select(e => e!.GetValue<string>())],
        _ => null,
    });

    public IReadOnlyList<int>? Integers(string key) => Take<IReadOnlyList<int>>(key, null, "an integer or a list of integers", n => n switch
    {
        JsonArray a when a.All(e => e is not null && AsInteger(e) is not null) => [.. a.Select(e => AsInteger(e!)!.Value)],
        not JsonArray when AsInteger(n) is { } single => [single],
        _ => null,
    });

    public ModuleSelector? Selector(string key)
    {
        try
        {
            return ModuleSelector.FromJson(key, _json[key]);
        }
        catch (ConfigurationException e)
        {
            _faults.AddRange(e.Faults.Select(f => $"{_source}: {f}"));
            return null;
        }
    }

    public IReadOnlyList<KeyValuePair<string, double>> Table(string key) => Take<IReadOnlyList<KeyValuePair<string, double>>>(key, null, "an object of numbers", n =>
        n is JsonObject table && table.All(p => p.Value is not null && AsNumber(p.Value) is not null)
            ? [.. table.Select(p => KeyValuePair.Create(p.Key, AsNumber(p.Value!)!.Value))]
            : null) ?? [];

    private static int? AsInteger(JsonNode node) => AsNumber(node) is { } number && number == Math.Truncate(number) && Math.Abs(number) <= int.MaxValue ? (int)number : null;

    private static double? AsNumber(JsonNode node) => node.GetValueKind() == JsonValueKind.Number
        && double.TryParse(node.ToJsonString(), NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number) ? number : null;

    private T Take<T>(string key, T defaultValue, string expected, Func<JsonNode, T?> read)
        where T : struct
    {
        JsonNode? node = _json[key];
        if (node is null)
        {
            return defaultValue;
        }

        if (read(node) is { } value)
        {
            return value;
        }

        Fault($"{key} is {node.ToJsonString()}; {expected} is expected.");
        return defaultValue;
    }

    private T? Take<T>(string key, T? defaultValue, string expected, Func<JsonNode, T?> read)
        where T : class?
    {
        JsonNode? node = _json[key];
        if (node is null)
        {
            return defaultValue;
        }

        T? value = read(node);
        if (value is null)
        {
            Fault($"{key} is {node.ToJsonString()}; {expected} is expected.");
        }

        return value;
    }
}
