using System.Text.Json;
using System.Text.Unicode;

namespace OrtQLoRA.Trainer.Data.Formats;

/// <summary>Reads one JSON object a line; blank lines are passed over.</summary>
internal sealed class JsonLinesReader : IRecordReader
{
    private const string Expected = "expected one JSON object, for example {\"text\": \"...\"}";

    /// <inheritdoc/>
    public IEnumerable<RecordOrFault> Read(string path, IReadOnlyDictionary<string, string> columns)
    {
        using Utf8LineReader lines = new(path);
        while (lines.TryRead(out ReadOnlyMemory<byte> line))
        {
            if (IsBlank(line.Span))
            {
                continue;
            }

            (JsonDocument? document, TrainingDataException? fault) = Parse(line, new SourceLine(path, lines.LineNumber));
            using (document)
            {
                yield return document is null
                    ? new RecordOrFault(null, fault)
                    : new RecordOrFault(new DataRecord(document.RootElement, new SourceLine(path, lines.LineNumber), columns), null);
            }
        }
    }

    internal static bool IsBlank(ReadOnlySpan<byte> line) => line.IndexOfAnyExcept(" \t\r"u8) < 0;

    /// <summary>Parses a line into an object, or says what is wrong where.</summary>
    internal static (JsonDocument? Document, TrainingDataException? Fault) Parse(ReadOnlyMemory<byte> line, SourceLine source)
    {
        if (FaultOf(line.Span, source) is TrainingDataException fault)
        {
            return (null, fault);
        }

        JsonDocument document = JsonDocument.Parse(line);
        if (document.RootElement.ValueKind == JsonValueKind.Object)
        {
            return (document, null);
        }

        using (document)
        {
            return (null, new TrainingDataException(
                source, $"column 1: the line holds a JSON {document.RootElement.ValueKind.ToString().ToLowerInvariant()}; {Expected}."));
        }
    }

    /// <summary>Looks at encoding and syntax without building a document.</summary>
    internal static TrainingDataException? FaultOf(ReadOnlySpan<byte> line, SourceLine source)
    {
        if (!Utf8.IsValid(line))
        {
            int column = ValidLength(line) + 1;
            return new TrainingDataException(source, $"column {column}: the line is not UTF-8 (byte 0x{line[column - 1]:X2}); save the file as UTF-8.");
        }

        try
        {
            Utf8JsonReader reader = new(line);
            reader.Read();
            reader.Skip();
            while (reader.Read())
            {
            }

            return null;
        }
        catch (JsonException e)
        {
            string message = e.Message;
            int places = message.IndexOf(" LineNumber:", StringComparison.Ordinal);
            return new TrainingDataException(
                source, $"column {(e.BytePositionInLine ?? 0) + 1}: the line is no JSON object: {(places < 0 ? message : message[..places])} {char.ToUpperInvariant(Expected[0])}{Expected[1..]}.", e);
        }
    }

    private static int ValidLength(ReadOnlySpan<byte> line)
    {
        int length = 0;
        while (length < line.Length && System.Text.Rune.DecodeFromUtf8(line[length..], out _, out int consumed) == System.Buffers.OperationStatus.Done)
        {
            length += consumed;
        }

        return length;
    }
}
