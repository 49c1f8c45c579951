using System.Text.Json;

namespace OrtQLoRA.Trainer.Data;

/// <summary>
/// Reads typed fields of one record, by the names that the data's roles have (<c>text</c>, <c>label</c>), which options may map
/// to other columns; every error names file, line and column.
/// </summary>
internal sealed class DataRecord
{
    private readonly JsonElement _object;
    private readonly IReadOnlyDictionary<string, string> _columns;
    private readonly bool _isTabular;

    /// <summary>Creates a record.</summary>
    /// <param name="record">A JSON object.</param>
    /// <param name="source">Where it stands.</param>
    /// <param name="columns">Column by role, where they differ.</param>
    /// <param name="isTabular">Whether every value is the text of a cell, so that numbers and lists stand in strings.</param>
    internal DataRecord(JsonElement record, SourceLine source, IReadOnlyDictionary<string, string> columns, bool isTabular = false)
    {
        _object = record;
        Source = source;
        _columns = columns;
        _isTabular = isTabular;
    }

    internal SourceLine Source { get; }

    /// <summary>The keys of the line, for messages.</summary>
    internal string KeyList
    {
        get
        {
            string[] keys = [.. _object.EnumerateObject().Select(p => p.Name)];
            return keys.Length == 0 ? "none" : string.Join(", ", keys.Take(12)) + (keys.Length > 12 ? ", ..." : "");
        }
    }

    /// <summary>The value of a key as it stands, or null if it is absent or null.</summary>
    internal JsonElement? Element(string key) => TryGetCell(key, out JsonElement value) ? value : null;

    /// <summary>A list or object, or null if the key is absent.</summary>
    internal JsonElement? Structure(string key) => TryGet(key, out JsonElement value) ? value : null;

    internal TrainingDataException Error(string message) => new(Source, message);

    internal string? Text(string key) => !TryGetCell(key, out JsonElement value) ? null
        : value.ValueKind == JsonValueKind.String ? value.GetString()
        : throw Error($"\"{key}\" is a JSON {Kind(value)}; it must be a string.");

    /// <summary>One integer, or null if the key is absent or holds an array.</summary>
    internal long? Integer(string key) => !TryGet(key, out JsonElement value) ? null
        : value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out long number) ? number
        : throw Error($"\"{key}\" is {Excerpt(value)}; it must be a whole number.");

    /// <summary>A list of integers, or null if the key is absent.</summary>
    internal long[]? Integers(string key)
    {
        if (!TryGet(key, out JsonElement value))
        {
            return null;
        }

        return Integers(key, value);
    }

    /// <summary>A list of integers.</summary>
    /// <param name="key">Its name for messages.</param>
    /// <param name="value">The list.</param>
    internal long[] Integers(string key, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Array)
        {
            throw Error($"\"{key}\" is a JSON {Kind(value)}; it must be a list of whole numbers.");
        }

        long[] numbers = new long[value.GetArrayLength()];
        int i = 0;
        foreach (JsonElement element in value.EnumerateArray())
        {
            if (element.ValueKind != JsonValueKind.Number || !element.TryGetInt64(out numbers[i]))
            {
                throw Error(element.ValueKind == JsonValueKind.Array
                    ? $"{key}[{i}] is a list; write one example a line, without the batch axis."
                    : $"{key}[{i}] is {Excerpt(element)}; it must be a whole number.");
            }

            i++;
        }

        return numbers;
    }

    /// <summary>A number or a nested list of numbers, or null if the key is absent.</summary>
    internal ExampleTensor? TensorOrNull(string key) => TryGet(key, out JsonElement value) ? ReadTensor(key, value) : null;

    /// <summary>A number or a nested list of numbers, which must be there.</summary>
    internal ExampleTensor Tensor(string key) => TensorOrNull(key)
        ?? throw Error($"the line has no \"{key}\", which is an input of the model; its keys are {KeyList}.");

    internal void RequireLength(string key, long[]? values, int length)
    {
        if (values is not null && values.Length != length)
        {
            throw Error($"\"{key}\" has {values.Length} entries, \"input_ids\" has {length}; they must be equal.");
        }
    }

    internal void RequireRange(string key, long[]? values, long first, long last, string? what = null)
    {
        for (int i = 0; i < values?.Length; i++)
        {
            if (values[i] < first || values[i] > last)
            {
                throw Error(what is null
                    ? $"{key}[{i}] is {values[i]}; it must {(last == long.MaxValue ? $"be at least {first}" : $"lie in {first} to {last}")}."
                    : $"{key}[{i}] is {values[i]}, outside {what} ({first} to {last}).");
            }
        }
    }

    /// <summary>A value; the numbers and lists of a table are parsed out of their cells.</summary>
    private bool TryGet(string key, out JsonElement value)
    {
        bool isFound = TryGetCell(key, out value);
        if (isFound && _isTabular && value.ValueKind == JsonValueKind.String)
        {
            value = Parsed(value);
        }

        return isFound;
    }

    private bool TryGetCell(string key, out JsonElement value)
    {
        bool isMapped = _columns.TryGetValue(key, out string? column);
        if (!_object.TryGetProperty(column ?? key, out value))
        {
            return isMapped
                ? throw Error($"there is no column \"{column}\", which --columns gives for {key}; the columns are {KeyList}.")
                : false;
        }

        bool isEmptyCell = _isTabular && value.ValueKind == JsonValueKind.String && value.ValueEquals("");
        return value.ValueKind != JsonValueKind.Null && !isEmptyCell;
    }

    private static JsonElement Parsed(JsonElement cell)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(cell.GetString()!);
            return document.RootElement.Clone();
        }
        catch (JsonException)
        {
            return cell;
        }
    }

    private ExampleTensor ReadTensor(string key, JsonElement value)
    {
        List<long> dims = [];
        for (JsonElement level = value; level.ValueKind == JsonValueKind.Array;)
        {
            int length = level.GetArrayLength();
            dims.Add(length);
            if (length == 0)
            {
                break;
            }

            level = level[0];
        }

        List<double> values = [];
        Collect(key, value, dims, 0, values);
        return new ExampleTensor([.. dims], [.. values]);
    }

    private void Collect(string key, JsonElement value, List<long> dims, int depth, List<double> values)
    {
        if (depth == dims.Count)
        {
            values.Add(value.ValueKind switch
            {
                JsonValueKind.Number => value.GetDouble(),
                JsonValueKind.True => 1,
                JsonValueKind.False => 0,
                _ => throw Error($"\"{key}\" holds {Excerpt(value)} where a number must stand."),
            });
            return;
        }

        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() != dims[depth])
        {
            throw Error($"\"{key}\" is ragged: at depth {depth + 1} every list must have {dims[depth]} entries, as the first one has.");
        }

        foreach (JsonElement element in value.EnumerateArray())
        {
            Collect(key, element, dims, depth + 1, values);
        }
    }

    private static string Kind(JsonElement value) => value.ValueKind.ToString().ToLowerInvariant();

    private static string Excerpt(JsonElement value)
    {
        string raw = value.GetRawText();
        return raw.Length <= 40 ? raw : raw[..40] + "...";
    }
}
