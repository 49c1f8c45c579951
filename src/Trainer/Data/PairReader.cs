using System.Text.Json;

namespace OrtQLoRA.Trainer.Data;

/// <summary>
/// Reads a line of the embedding task: an anchor, what belongs to it, and perhaps negatives of its own. Each is a text or a
/// list of token ids; <c>negative</c> may be a list of texts.
/// </summary>
internal sealed class PairReader
{
    // In the order in which they are looked for: names that data sets of pairs use.
    private static readonly (string Anchor, string Positive)[] Names =
    [
        ("anchor", "positive"), ("query", "positive"), ("query", "document"), ("query", "passage"), ("question", "answer"), ("sentence1", "sentence2"),
    ];

    private readonly Func<JsonElement, string, TrainingExample> _read;

    /// <summary>Creates a reader.</summary>
    /// <param name="read">Makes an example of one text or list of ids; gets the column's name for messages.</param>
    internal PairReader(Func<JsonElement, string, TrainingExample> read)
    {
        _read = read;
    }

    /// <summary>Reads one line.</summary>
    /// <exception cref="TrainingDataException">Anchor or positive is missing or of the wrong kind.</exception>
    internal TrainingExample Read(DataRecord line)
    {
        (string anchorName, string positiveName) = Names.FirstOrDefault(n => line.Element(n.Anchor) is not null && line.Element(n.Positive) is not null);
        if (anchorName is null)
        {
            throw line.Error(
                $"there is no pair such as \"{Names[0].Anchor}\" and \"{Names[0].Positive}\" (or {string.Join(", ", Names.Skip(1).Select(n => $"{n.Anchor}/{n.Positive}"))}); the columns are {line.KeyList}.");
        }

        TrainingExample anchor = _read(line.Element(anchorName)!.Value, anchorName);
        TrainingExample positive = _read(line.Element(positiveName)!.Value, positiveName);
        return new TrainingExample { Source = line.Source, InputIds = anchor.InputIds, Candidates = [positive, .. Negatives(line)] };
    }

    private IEnumerable<TrainingExample> Negatives(DataRecord line)
    {
        foreach (string name in new[] { "negative", "negatives" })
        {
            if (line.Element(name) is JsonElement value)
            {
                bool isList = value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(e => e.ValueKind is JsonValueKind.String or JsonValueKind.Array);
                return isList ? value.EnumerateArray().Select(e => _read(e, name)).ToArray() : [_read(value, name)];
            }
        }

        return [];
    }
}
