namespace OrtQLoRA.Cli.Tests;

/// <summary>A folder of a test's own, removed with all that is in it.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    private readonly string _path = Directory.CreateTempSubdirectory("ortqlora-test-").FullName;

    /// <summary>Full path of a file or folder in it.</summary>
    public string Path(string name) => System.IO.Path.Combine(_path, name);

    /// <summary>Writes a text file.</summary>
    /// <returns>Its full path.</returns>
    public string Write(string name, string text)
    {
        File.WriteAllText(Path(name), text);
        return Path(name);
    }

    public void Dispose() => Directory.Delete(_path, recursive: true);
}
