using System.IO.MemoryMappedFiles;

namespace OrtQLoRA.Graph.IO;

/// <summary>
/// A file mapped into memory for reading: the operating system brings in what is touched and drops it again, so a
/// file larger than memory can be read in parts. The file must not shrink while it is mapped.
/// </summary>
public sealed unsafe class MappedFile : IDisposable
{
    private readonly FileStream _stream;
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;

    private MappedFile(string path, long length, FileStream stream, MemoryMappedFile file, MemoryMappedViewAccessor view)
    {
        Path = path;
        Length = length;
        _stream = stream;
        _file = file;
        _view = view;
    }

    /// <summary>Path of the file.</summary>
    public string Path { get; }

    /// <summary>Bytes in the file.</summary>
    public long Length { get; }

    /// <summary>Address of the first byte; valid until the file is disposed.</summary>
    /// <exception cref="ObjectDisposedException">The file is disposed.</exception>
    public nint Address
    {
        get
        {
            ObjectDisposedException.ThrowIf(_view.SafeMemoryMappedViewHandle.IsClosed, this);
            return _view.SafeMemoryMappedViewHandle.DangerousGetHandle() + (nint)_view.PointerOffset;
        }
    }

    /// <summary>Maps a file.</summary>
    /// <exception cref="ModelFormatException">The file is absent, empty, a folder, or may not be read.</exception>
    public static MappedFile Open(string path)
    {
        try
        {
            if (Directory.Exists(path))
            {
                throw new ModelFormatException($"'{path}' is a folder. Name the file inside it.");
            }

            // The length comes first: opening a pipe would wait for a writer, and a pipe has no length.
            FileInfo info = new(path);
            if (!info.Exists)
            {
                throw new ModelFormatException($"'{path}' does not exist. Check the path.");
            }

            if (info.Length == 0)
            {
                throw new ModelFormatException($"'{path}' is empty (0 bytes). Write or download it again.");
            }

            FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
            long length = stream.Length;
            MemoryMappedFile file = MemoryMappedFile.CreateFromFile(
                stream, mapName: null, capacity: 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            return new MappedFile(path, length, stream, file, file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new ModelFormatException($"'{path}' cannot be read: {e.Message} Check that it is a readable file.", e);
        }
    }

    /// <summary>
    /// Copies bytes out of the file. They are read rather than copied from the mapping, whose pages would count as memory of this
    /// process once touched.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The range lies outside the file.</exception>
    /// <exception cref="ObjectDisposedException">The file is disposed.</exception>
    public void CopyTo(long offset, Span<byte> destination)
    {
        CheckRange(offset, destination.Length);
        while (destination.Length > 0)
        {
            int count = RandomAccess.Read(_stream.SafeFileHandle, destination, offset);
            if (count == 0)
            {
                throw new ModelFormatException($"'{Path}' has become shorter than the {Length} bytes it had when it was opened. Do not change files while they are read.");
            }

            destination = destination[count..];
            offset += count;
        }
    }

    /// <summary>Bytes of the file in place; valid until the file is disposed.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range lies outside the file.</exception>
    /// <exception cref="ObjectDisposedException">The file is disposed.</exception>
    public ReadOnlySpan<byte> AsSpan(long offset, int length)
    {
        CheckRange(offset, length);
        return new ReadOnlySpan<byte>((byte*)Address + offset, length);
    }

    /// <summary>Unmaps the file.</summary>
    public void Dispose()
    {
        _view.Dispose();
        _file.Dispose();
        _stream.Dispose();
    }

    private void CheckRange(long offset, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, Length - length);
    }
}
