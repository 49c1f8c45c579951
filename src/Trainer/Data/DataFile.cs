using System.Text;

namespace OrtQLoRA.Trainer.Data;

/// <summary>Reads a data file into examples: JSON lines, or plain text (<c>.txt</c>, <c>.text</c>, <c>.md</c>).</summary>
public static class DataFile
{
    private static readonly string[] TextExtensions = [".txt", ".text", ".md"];

    /// <summary>Reads all examples, in file order.</summary>
    /// <param name="path">The data file.</param>
    /// <param name="requirements">What lines are checked against.</param>
    /// <exception cref="TrainingDataException">The file is missing or empty, or a line is faulty; the message names it.</exception>
    public static IReadOnlyList<TrainingExample> Read(string path, DataRequirements requirements)
    {
        if (!File.Exists(path))
        {
            throw new TrainingDataException($"The data file '{path}' does not exist.");
        }

        IReadOnlyList<TrainingExample> examples;
        try
        {
            examples = TextExtensions.Contains(Path.GetExtension(path).ToLowerInvariant())
                ? PlainTextReader.Read(path, requirements)
                : [.. new JsonLineReader(requirements).Read(path)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TrainingDataException($"The data file '{path}' cannot be read: {e.Message}", e);
        }

        return examples.Count > 0
            ? examples
            : throw new TrainingDataException($"The data file '{path}' holds no example; write one JSON object a line, for example {{\"text\": \"...\"}}.");
    }

    /// <summary>Opens a file as UTF-8 that refuses malformed bytes instead of replacing them.</summary>
    internal static StreamReader OpenText(string path) =>
        new(path, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true));
}
