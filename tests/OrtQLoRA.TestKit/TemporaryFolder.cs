namespace OrtQLoRA.TestKit;

/// <summary>A folder that a test writes to and that goes when the test ends.</summary>
public sealed class TemporaryFolder : IDisposable
{
    /// <summary>Creates an empty folder.</summary>
    public TemporaryFolder()
    {
        Path = Directory.CreateTempSubdirectory("ortqlora-test-").FullName;
    }

    /// <summary>Full path of the folder.</summary>
    public string Path { get; }

    /// <summary>The full path of a file in the folder; folders on the way to it are created.</summary>
    public string File(string relativePath)
    {
        string path = System.IO.Path.Combine(Path, relativePath);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        return path;
    }

    /// <summary>Writes a text file in the folder.</summary>
    /// <returns>Its full path.</returns>
    public string Write(string relativePath, string text)
    {
        string path = File(relativePath);
        System.IO.File.WriteAllText(path, text);
        return path;
    }

    /// <summary>Removes the folder and what is in it.</summary>
    public void Dispose() => Directory.Delete(Path, recursive: true);
}
