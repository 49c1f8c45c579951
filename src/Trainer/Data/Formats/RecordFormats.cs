namespace OrtQLoRA.Trainer.Data.Formats;

/// <summary>The formats of data files by extension.</summary>
internal static class RecordFormats
{
    private static readonly string[] Text = [".txt", ".text", ".md"];

    private static readonly Dictionary<string, IRecordReader> Readers = new(StringComparer.OrdinalIgnoreCase)
    {
        [".jsonl"] = new JsonLinesReader(),
        [".ndjson"] = new JsonLinesReader(),
        [".json"] = new JsonArrayReader(),
        [".csv"] = new DelimitedReader(","),
        [".tsv"] = new DelimitedReader("\t"),
        [".parquet"] = new ParquetReader(),
    };

    /// <summary>Every extension that is known.</summary>
    internal static IEnumerable<string> Extensions => [.. Readers.Keys, .. Text];

    /// <summary>Whether a file holds plain text.</summary>
    internal static bool IsText(string path) => Text.Contains(Path.GetExtension(path), StringComparer.OrdinalIgnoreCase);

    /// <summary>Whether a file's lines can be found again one by one.</summary>
    internal static bool IsLines(string path) => ReaderOf(path) is JsonLinesReader;

    /// <summary>The reader of a file; JSON lines where the extension says nothing. A <c>.json</c> file of one object a line is taken as such.</summary>
    internal static IRecordReader ReaderOf(string path) => !Readers.TryGetValue(Path.GetExtension(path), out IRecordReader? reader) || (reader is JsonArrayReader && BeginsWithLines(path))
        ? Readers[".jsonl"]
        : reader;

    /// <summary>Whether the first line is an object whole and another follows.</summary>
    private static bool BeginsWithLines(string path)
    {
        using Utf8LineReader lines = new(path);
        return lines.TryRead(out ReadOnlyMemory<byte> first) && first.Span.TrimStart(" \t"u8).StartsWith("{"u8)
            && JsonLinesReader.FaultOf(first.Span, default) is null && lines.TryRead(out ReadOnlyMemory<byte> second)
            && second.Span.TrimStart(" \t"u8).StartsWith("{"u8);
    }
}
