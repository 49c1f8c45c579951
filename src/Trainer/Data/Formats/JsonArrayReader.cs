using System.Text.Json;

namespace OrtQLoRA.Trainer.Data.Formats;

/// <summary>
/// Reads a JSON array of objects, or an object with one such array (under <c>data</c>, say) or of columns (name to list of
/// values). The file is held in memory while it is read; JSON lines stream.
/// </summary>
internal sealed class JsonArrayReader : IRecordReader
{
    /// <inheritdoc/>
    public IEnumerable<RecordOrFault> Read(string path, IReadOnlyDictionary<string, string> columns)
    {
        using JsonDocument document = Open(path);
        JsonElement root = document.RootElement;
        JsonElement rows = root;
        if (root.ValueKind == JsonValueKind.Object)
        {
            JsonProperty[] lists = [.. root.EnumerateObject().Where(p => IsListOfObjects(p.Value))];
            rows = lists.Length == 1 ? lists[0].Value : throw new TrainingDataException(
                $"The data file '{path}' is a JSON object with the keys {string.Join(", ", root.EnumerateObject().Select(p => p.Name).Take(12))}; "
                + "expected an array of objects, one an example, or an object that holds exactly one such array. One object a line belongs into a .jsonl file.");
        }

        if (rows.ValueKind != JsonValueKind.Array)
        {
            throw new TrainingDataException($"The data file '{path}' holds a JSON {rows.ValueKind.ToString().ToLowerInvariant()}; expected an array of objects, one an example.");
        }

        long number = 0;
        foreach (JsonElement row in rows.EnumerateArray())
        {
            SourceLine source = new(path, ++number);
            yield return row.ValueKind == JsonValueKind.Object
                ? new RecordOrFault(new DataRecord(row, source, columns), null)
                : new RecordOrFault(null, new TrainingDataException(source, $"entry {number} of the array is a JSON {row.ValueKind.ToString().ToLowerInvariant()}; expected an object."));
        }
    }

    private static bool IsListOfObjects(JsonElement value) =>
        value.ValueKind == JsonValueKind.Array && value.GetArrayLength() > 0 && value[0].ValueKind == JsonValueKind.Object;

    private static JsonDocument Open(string path)
    {
        try
        {
            using FileStream stream = File.OpenRead(path);
            return JsonDocument.Parse(stream);
        }
        catch (JsonException e)
        {
            long line = (e.LineNumber ?? 0) + 1;
            string hint = line == 2 ? " If the file holds one object a line, name it .jsonl." : "";
            throw new TrainingDataException(
                new SourceLine(path, line), $"column {(e.BytePositionInLine ?? 0) + 1}: the file is no JSON: expected an array of objects. {e.Message}{hint}", e);
        }
    }
}
