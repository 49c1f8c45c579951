using Microsoft.VisualStudio.TestTools.UnitTesting;

namespace OrtQLoRA.TestKit;

/// <summary>
/// Finds the reference data, which lies outside the repository: in the folder that the environment variable
/// <c>ORTQLORA_FIXTURES</c> names, or in <c>../shared/fixtures</c> beside the repository root.
/// </summary>
public static class Fixtures
{
    /// <summary>The environment variable that names the fixtures folder.</summary>
    public const string Variable = "ORTQLORA_FIXTURES";

    private const string Absent = "fixtures-absent";

    private static readonly Lazy<string?> Found = new(Find);

    /// <summary>Whether the fixtures are there.</summary>
    public static bool IsAvailable => Found.Value is not null;

    /// <summary>The fixtures folder. A test that asks for it where it is absent is reported as skipped.</summary>
    public static string Root
    {
        get
        {
            if (Found.Value is null)
            {
                Assert.Inconclusive($"The fixtures are absent: set {Variable}, or put them at ../shared/fixtures beside the repository.");
            }

            return Found.Value!;
        }
    }

    /// <summary>
    /// The full path of a fixture (file or folder). A test that asks for an absent one is reported as skipped.
    /// </summary>
    /// <param name="relativePath">Path below the fixtures folder, with forward slashes.</param>
    public static string Require(string relativePath)
    {
        string path = Path.Combine(Root, relativePath);
        if (!Path.Exists(path))
        {
            Assert.Inconclusive($"The fixture '{relativePath}' is absent under {Root}.");
        }

        return path;
    }

    /// <summary>
    /// Relative paths of every fixture with an extension, in ordinal order, for <c>DynamicData</c>. Where the
    /// fixtures are absent there is one path, on which <see cref="Require"/> skips the test.
    /// </summary>
    /// <param name="extension">For example <c>.onnx</c>.</param>
    /// <param name="under">Folder below the fixtures folder; empty for all.</param>
    public static IEnumerable<string> Files(string extension, string under = "")
    {
        string? root = Found.Value;
        string folder = root is null ? "" : Path.Combine(root, under);
        return root is not null && Directory.Exists(folder)
            ? Directory.EnumerateFiles(folder, "*" + extension, SearchOption.AllDirectories)
                .Select(f => Path.GetRelativePath(root, f).Replace('\\', '/'))
                .Order(StringComparer.Ordinal)
            : [Absent + extension];
    }

    /// <summary>The folder of OrtQLoRA.sln, found upward from the running test assembly.</summary>
    public static string? RepositoryRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "OrtQLoRA.sln")))
            {
                return folder.FullName;
            }
        }

        return null;
    }

    private static string? Find()
    {
        if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } named)
        {
            return Directory.Exists(named)
                ? Path.GetFullPath(named)
                : throw new DirectoryNotFoundException($"{Variable} names '{named}', which is no folder.");
        }

        string? beside = RepositoryRoot() is { } root ? Path.GetFullPath(Path.Combine(root, "..", "shared", "fixtures")) : null;
        return Directory.Exists(beside) ? beside : null;
    }
}
