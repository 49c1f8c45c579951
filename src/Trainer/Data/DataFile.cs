using System.Text;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data.Formats;

namespace OrtQLoRA.Trainer.Data;

/// <summary>
/// Reads data into examples: JSON lines, JSON, CSV, TSV, Parquet or plain text; a file, a folder or a pattern. Small data are
/// read at once, large JSON lines as they are needed.
/// </summary>
public static class DataFile
{
    /// <summary>Bytes of files above which <see cref="StreamingMode.Auto"/> streams.</summary>
    private const long StreamingThreshold = 64 << 20;

    /// <summary>Opens the examples, in the order of files and lines.</summary>
    /// <param name="path">A file, a folder, or a pattern with <c>*</c>, <c>?</c> and <c>**</c>.</param>
    /// <param name="requirements">What records are checked against.</param>
    /// <exception cref="TrainingDataException">A file is missing or empty, or a record is faulty; the message names it.</exception>
    public static IReadOnlyList<TrainingExample> Read(string path, DataRequirements requirements)
    {
        IReadOnlyList<string> files = DataPaths.Expand(path);
        try
        {
            BadLines faults = new(requirements);
            bool streams = requirements.Streaming == StreamingMode.Always
                || (requirements.Streaming == StreamingMode.Auto && files.Sum(f => new FileInfo(f).Length) > StreamingThreshold);
            if (requirements.Streaming == StreamingMode.Always && files.FirstOrDefault(f => !RecordFormats.IsLines(f)) is string whole)
            {
                throw new TrainingDataException($"The data file '{whole}' is no JSON lines file, and only those are streamed: convert it to .jsonl, or pass --streaming auto, which reads it into memory.");
            }

            IReadOnlyList<TrainingExample> examples = streams && files.All(RecordFormats.IsLines)
                ? StreamedExamples.Open(files, requirements, faults)
                : [.. files.SelectMany(f => ReadFile(f, requirements, faults))];
            faults.Report();
            return examples.Count > 0
                ? examples
                : throw new TrainingDataException(
                    $"The data file '{path}' holds no example{(faults.Count > 0 ? " that can be used" : "")}; write one JSON object a line, for example {{\"text\": \"...\"}}.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TrainingDataException($"The data file '{path}' cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Opens a file as UTF-8 that refuses malformed bytes instead of replacing them.</summary>
    internal static StreamReader OpenText(string path) =>
        new(path, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true));

    private static IEnumerable<TrainingExample> ReadFile(string path, DataRequirements requirements, BadLines faults)
    {
        if (RecordFormats.IsText(path))
        {
            foreach (TrainingExample block in PlainTextReader.Read(path, requirements))
            {
                yield return block;
            }

            yield break;
        }

        ExampleParser parser = new(requirements);
        foreach (RecordOrFault read in RecordFormats.ReaderOf(path).Read(path, requirements.Columns))
        {
            if (faults.Try(parser, read) is TrainingExample example)
            {
                yield return example;
            }
        }
    }
}
