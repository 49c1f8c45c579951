using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Callbacks;

namespace OrtQLoRA.Trainer.Runs;

/// <summary>
/// <c>metrics.jsonl</c>: a JSON line for each step, written at once and whole. Where the disk refuses, lines wait in memory
/// and go out with a later one.
/// </summary>
public sealed class MetricsFile : IDisposable
{
    private readonly FileStream _stream;
    private readonly MemoryStream _waiting = new();
    private long _written;

    private MetricsFile(FileStream stream)
    {
        _stream = stream;
        _written = stream.Length;
        _stream.Position = _written;
    }

    /// <summary>Opens the file for the steps after <paramref name="lastStep"/>; what it holds of later steps goes.</summary>
    /// <param name="path">The file.</param>
    /// <param name="lastStep">Last step to keep; 0 for none.</param>
    /// <param name="kept">The steps kept.</param>
    /// <exception cref="FileWriteException">The file cannot be written.</exception>
    internal static MetricsFile Open(string path, long lastStep, out IReadOnlyList<StepMetrics> kept)
    {
        try
        {
            (kept, long length) = lastStep > 0 && File.Exists(path) ? ReadUpTo(path, lastStep) : ([], 0);
            FileStream stream = new(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, bufferSize: 0);
            stream.SetLength(length);
            return new MetricsFile(stream);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Refused(path, e);
        }
    }

    /// <summary>Reads the steps of a run; a last line that was cut off is left out.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFormatException">The file is absent or holds something else.</exception>
    public static IReadOnlyList<StepMetrics> Read(string path)
    {
        try
        {
            return ReadUpTo(path, long.MaxValue).Steps;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelFormatException($"The metrics '{path}' cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Adds a step.</summary>
    /// <returns>What the disk said if it refused; null if the line is written.</returns>
    internal string? Write(StepMetrics metrics)
    {
        JsonSerializer.Serialize(_waiting, metrics);
        _waiting.WriteByte((byte)'\n');
        try
        {
            WriteWaiting();
            return null;
        }
        catch (IOException e)
        {
            CutOff();
            return e.Message;
        }
    }

    /// <summary>Makes the lines survive a power cut.</summary>
    /// <exception cref="FileWriteException">The disk refused.</exception>
    internal void Flush()
    {
        try
        {
            WriteWaiting();
            _stream.Flush(flushToDisk: true);
        }
        catch (IOException e)
        {
            CutOff();
            throw Refused(_stream.Name, e);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stream.Dispose();
        _waiting.Dispose();
    }

    private void WriteWaiting()
    {
        if (_waiting.Length > 0)
        {
            _stream.Write(_waiting.GetBuffer().AsSpan(0, (int)_waiting.Length));
            _written += _waiting.Length;
            _waiting.SetLength(0);
        }
    }

    /// <summary>A full disk may have taken half a line.</summary>
    private void CutOff()
    {
        try
        {
            _stream.SetLength(_written);
            _stream.Position = _written;
        }
        catch (IOException)
        {
            // Resuming drops a line that is not whole.
        }
    }

    private static (IReadOnlyList<StepMetrics> Steps, long Length) ReadUpTo(string path, long lastStep)
    {
        List<StepMetrics> steps = [];
        byte[] content = File.ReadAllBytes(path);
        int start = 0;
        while (start < content.Length)
        {
            int length = content.AsSpan(start).IndexOf((byte)'\n');
            if (length < 0 || Parse(path, content.AsSpan(start, length), steps.Count + 1) is not StepMetrics step || step.Step > lastStep)
            {
                break;
            }

            steps.Add(step);
            start += length + 1;
        }

        return (steps, start);
    }

    private static StepMetrics? Parse(string path, ReadOnlySpan<byte> line, int number)
    {
        try
        {
            return JsonSerializer.Deserialize<StepMetrics>(line);
        }
        catch (JsonException e)
        {
            throw new ModelFormatException($"{path}:{number}: the line is no step of a run: {e.Message}", e);
        }
    }

    private static FileWriteException Refused(string path, Exception e) =>
        new($"The metrics '{path}' cannot be written: {e.Message} Check the permissions of its folder and the space left on the disk.", e);
}
