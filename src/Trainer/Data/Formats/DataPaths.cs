using System.IO.Enumeration;

namespace OrtQLoRA.Trainer.Data.Formats;

/// <summary>Finds the files that a path stands for: a file, a folder, or a pattern such as <c>data/*.jsonl</c> or <c>data/**/*.csv</c>.</summary>
internal static class DataPaths
{
    /// <summary>Whether a path is a pattern and not the name of a file that is there.</summary>
    internal static bool IsPattern(string path) => path.AsSpan().ContainsAny('*', '?') && !Path.Exists(path);

    /// <summary>The files in ordinal order of their paths.</summary>
    /// <exception cref="TrainingDataException">There are none.</exception>
    internal static IReadOnlyList<string> Expand(string path)
    {
        if (File.Exists(path))
        {
            return [path];
        }

        string[] found = [.. (Directory.Exists(path) ? InFolder(path) : IsPattern(path) ? Matching(path) : []).Order(StringComparer.Ordinal)];
        return found.Length > 0 ? found
            : Directory.Exists(path)
                ? throw new TrainingDataException($"The folder '{path}' holds no data file; files with these extensions are looked for: {string.Join(", ", RecordFormats.Extensions)}.")
            : IsPattern(path)
                ? throw new TrainingDataException($"No file matches '{path}'.")
            : throw new TrainingDataException($"The data file '{path}' does not exist.");
    }

    private static IEnumerable<string> InFolder(string folder) => Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
        .Where(f => RecordFormats.Extensions.Contains(Path.GetExtension(f).ToLowerInvariant()));

    private static IEnumerable<string> Matching(string pattern)
    {
        string normal = pattern.Replace('\\', '/');
        int wildcard = normal.AsSpan().IndexOfAny('*', '?');
        int divider = normal.LastIndexOf('/', wildcard);
        string folder = divider < 0 ? "." : divider == 0 ? "/" : normal[..divider];
        string[] parts = normal[(divider + 1)..].Split('/');
        return Directory.Exists(folder)
            ? Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
                .Where(f => Matches(Path.GetRelativePath(folder, f).Replace('\\', '/').Split('/'), parts))
                .Select(f => divider < 0 ? Path.GetRelativePath(folder, f) : f)
            : [];
    }

    private static bool Matches(ReadOnlySpan<string> path, ReadOnlySpan<string> pattern) =>
        pattern.Length == 0 ? path.Length == 0
        : pattern[0] == "**" ? Matches(path, pattern[1..]) || (path.Length > 0 && Matches(path[1..], pattern))
        : path.Length > 0 && FileSystemName.MatchesSimpleExpression(pattern[0], path[0], ignoreCase: false) && Matches(path[1..], pattern[1..]);
}
