using System.Globalization;

namespace OrtQLoRA.Graph.IO;

/// <summary>
/// A file that appears whole or not at all: written beside its target under a temporary name, flushed to disk,
/// then renamed over the target. Disposed without <see cref="Commit"/> it leaves nothing behind.
/// </summary>
public sealed class AtomicFile : IDisposable
{
    private const int BufferSize = 1 << 16;

    private static int Counter;

    private readonly string _temporaryPath;
    private readonly FileStream _stream;
    private bool _committed;

    private AtomicFile(string path, string temporaryPath, FileStream stream)
    {
        Path = path;
        _temporaryPath = temporaryPath;
        _stream = stream;
    }

    /// <summary>The file that <see cref="Commit"/> creates or replaces.</summary>
    public string Path { get; }

    /// <summary>Takes the content; seekable.</summary>
    public Stream Stream => _stream;

    /// <summary>Writes a file in one go.</summary>
    /// <param name="path">The file to create or replace; its folder must exist.</param>
    /// <param name="write">Writes the content. If it throws, the target stays as it was.</param>
    /// <exception cref="FileWriteException">The file cannot be written.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        using AtomicFile file = Create(path);
        file.Fill(write);
        file.Commit();
    }

    /// <summary>Begins a file.</summary>
    /// <param name="path">The file to create or replace on <see cref="Commit"/>; its folder must exist.</param>
    /// <exception cref="FileWriteException">The folder is absent or refuses new files, or the target is a folder.</exception>
    public static AtomicFile Create(string path)
    {
        string target = System.IO.Path.GetFullPath(path);
        string? folder = System.IO.Path.GetDirectoryName(target);
        if (folder is null || Directory.Exists(target))
        {
            throw new FileWriteException($"Cannot write '{path}': it is a folder. Name a file inside it.");
        }

        if (!Directory.Exists(folder))
        {
            throw new FileWriteException($"Cannot write '{path}': the folder '{folder}' does not exist. Create it or choose another.");
        }

        try
        {
            string temporary;
            do
            {
                temporary = System.IO.Path.Combine(folder, string.Create(
                    CultureInfo.InvariantCulture,
                    $".{System.IO.Path.GetFileName(target)}.{Environment.ProcessId}-{Interlocked.Increment(ref Counter)}.tmp"));
            }
            while (File.Exists(temporary));
            return new AtomicFile(target, temporary, new FileStream(temporary, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, BufferSize));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Refused(target, e);
        }
    }

    /// <summary>Runs an action that writes to the stream and names the target if the disk refuses.</summary>
    /// <exception cref="FileWriteException">The disk refused.</exception>
    public void Fill(Action<Stream> write)
    {
        try
        {
            write(_stream);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Refused(Path, e);
        }
    }

    /// <summary>Flushes the content to disk and gives the file its name.</summary>
    /// <exception cref="FileWriteException">The content cannot be flushed or the target cannot be replaced; it stays as it was.</exception>
    public void Commit()
    {
        try
        {
            _stream.Flush(flushToDisk: true);
            _stream.Dispose();
            File.Move(_temporaryPath, Path, overwrite: true);
            _committed = true;
            DurableFolder.Flush(System.IO.Path.GetDirectoryName(Path)!);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Refused(Path, e);
        }
    }

    /// <summary>Closes the file; removes it unless it was committed.</summary>
    public void Dispose()
    {
        try
        {
            _stream.Dispose();
        }
        catch (IOException)
        {
            // A full disk fails the last buffer again on closing; the error that matters is already on its way.
        }

        if (!_committed)
        {
            File.Delete(_temporaryPath);
        }
    }

    private static FileWriteException Refused(string path, Exception e) => new(
        $"Cannot write '{path}': {e.Message} Check the permissions of its folder and the space left on the disk.", e);
}
