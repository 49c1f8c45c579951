using System.Text.Json;
using OrtQLoRA.Trainer.Callbacks;

namespace OrtQLoRA.Trainer.Runs;

/// <summary>Appends a JSON line for each step; a line is written at once and whole.</summary>
internal sealed class MetricsWriter : IDisposable
{
    private readonly FileStream _stream;

    internal MetricsWriter(string path)
    {
        _stream = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read);
    }

    internal void Write(StepMetrics metrics)
    {
        byte[] line = [.. JsonSerializer.SerializeToUtf8Bytes(metrics), (byte)'\n'];
        _stream.Write(line);
        _stream.Flush();
    }

    public void Dispose() => _stream.Dispose();
}
