using System.Text.Json;
using System.Text.RegularExpressions;

namespace OrtQLoRA.Samples;

/// <summary>The lighthouse's logbook that the demo comes with, as data for the samples.</summary>
internal static partial class Logbook
{
    private static readonly string Folder = Path.Combine(AppContext.BaseDirectory, "demo");

    internal static string Model { get; } = Path.Combine(Folder, "model.onnx");

    internal static string Tokenizer { get; } = Path.Combine(Folder, "tokenizer.bin");

    /// <summary>Writes training and held-out data, one line for each entry.</summary>
    /// <param name="folder">Where to.</param>
    /// <param name="example">What becomes of an entry.</param>
    internal static (string Train, string Eval) Write(string folder, Func<LogEntry, object> example)
    {
        Directory.CreateDirectory(folder);
        return (Convert("logbook.jsonl", "train.jsonl"), Convert("logbook-eval.jsonl", "eval.jsonl"));

        string Convert(string from, string to)
        {
            string path = Path.Combine(folder, to);
            File.WriteAllLines(path, File.ReadLines(Path.Combine(Folder, from)).Select(Read).Select(e => JsonSerializer.Serialize(example(e))));
            return path;
        }
    }

    private static LogEntry Read(string line)
    {
        using JsonDocument document = JsonDocument.Parse(line);
        string text = document.RootElement.GetProperty("text").GetString()!;
        Match match = Beginning().Match(text);
        return new LogEntry(match.Groups["date"].Value, match.Groups["wind"].Value, match.Groups["sky"].Value, match.Groups["glass"].Value, match.Value);
    }

    [GeneratedRegex(@"^LOG (?<date>\d+ \w+)\. Wind (?<wind>\w+ \d), (?<sky>[^,]+), glass (?<glass>\d+)\.")]
    private static partial Regex Beginning();
}
