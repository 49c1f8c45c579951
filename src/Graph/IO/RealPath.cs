namespace OrtQLoRA.Graph.IO;

/// <summary>Follows symbolic links, so that a check on a path holds for the file that is opened in the end.</summary>
internal static class RealPath
{
    private const int MaxLinks = 40;

    /// <summary>The path without symbolic links in any of its parts. Parts that do not exist stay as they are.</summary>
    /// <exception cref="IOException">The links form a loop.</exception>
    public static string Resolve(string path)
    {
        string full = Path.GetFullPath(path);
        string root = Path.GetPathRoot(full) ?? "";
        string resolved = root;
        Stack<string> parts = new(Split(full[root.Length..]).Reverse());
        int links = 0;
        while (parts.TryPop(out string? part))
        {
            string candidate = Path.Combine(resolved, part);
            if (new FileInfo(candidate).LinkTarget is not { } target)
            {
                resolved = candidate;
                continue;
            }

            if (++links > MaxLinks)
            {
                throw new IOException($"'{path}' passes more than {MaxLinks} symbolic links; they probably form a loop.");
            }

            string next = Path.GetFullPath(target, resolved);
            resolved = Path.GetPathRoot(next) ?? "";
            foreach (string piece in Split(next[resolved.Length..]).Reverse())
            {
                parts.Push(piece);
            }
        }

        return resolved;
    }

    /// <summary>Whether a path (both free of links) lies inside a folder.</summary>
    public static bool IsInside(string path, string folder) => path.StartsWith(
        Path.EndsInDirectorySeparator(folder) ? folder : folder + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    private static string[] Split(string path) =>
        path.Split([Path.DirectorySeparatorChar, Path.AltDirectorySeparatorChar], StringSplitOptions.RemoveEmptyEntries);
}
