using System.Runtime.InteropServices;

namespace OrtQLoRA.Graph.IO;

/// <summary>
/// Makes the entries of a folder (new, renamed and deleted files) survive a power cut: POSIX systems keep them in memory
/// until the folder itself is flushed, apart from the files in it.
/// </summary>
public static partial class DurableFolder
{
    private const int ReadOnly = 0;

    /// <summary>Flushes a folder's entries to disk. Windows' file systems do so on their own; nothing happens there.</summary>
    /// <param name="path">The folder.</param>
    /// <exception cref="IOException">The disk refused.</exception>
    public static void Flush(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        int descriptor = Open(path, ReadOnly);
        if (descriptor < 0)
        {
            throw new IOException($"The folder '{path}' cannot be opened to be flushed (error {Marshal.GetLastPInvokeError()}).");
        }

        try
        {
            // Some network file systems know no flush of folders; there the rename alone has to do.
            const int InvalidArgument = 22;
            if (Flush(descriptor) != 0 && Marshal.GetLastPInvokeError() is int error and not InvalidArgument)
            {
                throw new IOException($"The folder '{path}' cannot be flushed (error {error}).");
            }
        }
        finally
        {
            _ = Close(descriptor);
        }
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Flush(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);
}
