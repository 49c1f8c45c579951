using System.Globalization;
using System.Text;
using System.Text.Json;
using CsvHelper;
using CsvHelper.Configuration;

namespace OrtQLoRA.Trainer.Data.Formats;

/// <summary>Reads comma- or tab-separated values (RFC 4180) whose first line names the columns.</summary>
internal sealed class DelimitedReader : IRecordReader
{
    private readonly string _delimiter;

    /// <summary>Creates a reader.</summary>
    /// <param name="delimiter">What stands between cells.</param>
    internal DelimitedReader(string delimiter)
    {
        _delimiter = delimiter;
    }

    /// <inheritdoc/>
    public IEnumerable<RecordOrFault> Read(string path, IReadOnlyDictionary<string, string> columns)
    {
        string? bad = null;
        CsvConfiguration configuration = new(CultureInfo.InvariantCulture)
        {
            Delimiter = _delimiter,
            BadDataFound = e => bad = e.Field,
        };
        using StreamReader text = DataFile.OpenText(path);
        using CsvParser parser = new(text, configuration);
        if (!Next(parser, path))
        {
            yield break;
        }

        string[] header = parser.Record!;
        string? twice = header.GroupBy(h => h).FirstOrDefault(g => g.Count() > 1)?.Key;
        if (twice is not null)
        {
            throw new TrainingDataException(new SourceLine(path, 1), $"two columns are named \"{twice}\"; give each a name of its own.");
        }

        long line = parser.RawRow + 1;
        while (Next(parser, path))
        {
            SourceLine source = new(path, line);
            line = parser.RawRow + 1;
            string[] cells = parser.Record!;
            if (bad is not null)
            {
                int column = Math.Max(0, parser.RawRecord.IndexOf(bad, StringComparison.Ordinal)) + 1;
                bad = null;
                yield return new RecordOrFault(null, new TrainingDataException(
                    source, $"column {column}: a quotation mark stands inside a cell; expected the cell in quotation marks, with those inside it doubled."));
            }
            else if (cells.Length != header.Length)
            {
                yield return new RecordOrFault(null, new TrainingDataException(
                    source, $"column {parser.RawRecord.TrimEnd().Length + 1}: the row has {cells.Length} cells; expected {header.Length}, as the first line names them: {string.Join(", ", header)}. Put cells that hold the separator in quotation marks."));
            }
            else
            {
                using JsonDocument row = ToJson(header, cells);
                yield return new RecordOrFault(new DataRecord(row.RootElement, source, columns, isTabular: true), null);
            }
        }
    }

    private static bool Next(CsvParser parser, string path)
    {
        try
        {
            return parser.Read();
        }
        catch (DecoderFallbackException e)
        {
            throw new TrainingDataException(new SourceLine(path, parser.RawRow + 1), $"the line (or one of the few after it) is not UTF-8: {e.Message}", e);
        }
    }

    private static JsonDocument ToJson(string[] header, string[] cells)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream))
        {
            writer.WriteStartObject();
            for (int i = 0; i < header.Length; i++)
            {
                writer.WriteString(header[i], cells[i]);
            }

            writer.WriteEndObject();
        }

        return JsonDocument.Parse(stream.ToArray());
    }
}
