namespace OrtQLoRA.Trainer.Data.Formats;

/// <summary>Reads lines as bytes and knows where each begins. Lines end with LF or CR LF; a byte order mark is left out.</summary>
internal sealed class Utf8LineReader : IDisposable
{
    private const int LongestLine = 1 << 30;

    private readonly FileStream _stream;
    private byte[] _buffer = new byte[1 << 16];
    private int _start;
    private int _end;

    /// <summary>Opens a file.</summary>
    internal Utf8LineReader(string path)
    {
        _stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 1, FileOptions.SequentialScan);
        SeekTo(0, 0);
    }

    /// <summary>Where the next line begins, in bytes.</summary>
    internal long Position { get; private set; }

    /// <summary>Number of the line last read, from 1.</summary>
    internal long LineNumber { get; private set; }

    /// <summary>Goes to the beginning of a line.</summary>
    /// <param name="position">Where it begins.</param>
    /// <param name="linesBefore">Lines before it.</param>
    internal void SeekTo(long position, long linesBefore)
    {
        _stream.Position = position;
        Position = position;
        LineNumber = linesBefore;
        _start = _end = 0;
        if (position == 0 && Fill() && _buffer.AsSpan(0, _end).StartsWith("\uFEFF"u8))
        {
            _start = 3;
            Position = 3;
        }
    }

    /// <summary>Reads the next line, without its end.</summary>
    /// <returns>Whether there was one; <paramref name="line"/> is valid until the next call.</returns>
    internal bool TryRead(out ReadOnlyMemory<byte> line)
    {
        int searched = 0;
        while (true)
        {
            int found = _buffer.AsSpan(_start + searched, _end - _start - searched).IndexOf((byte)'\n');
            if (found >= 0)
            {
                line = Take(searched + found, searched + found + 1);
                return true;
            }

            searched = _end - _start;
            if (!Fill())
            {
                line = Take(searched, searched);
                return searched > 0;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private ReadOnlyMemory<byte> Take(int length, int consumed)
    {
        ReadOnlyMemory<byte> line = _buffer.AsMemory(_start, length);
        _start += consumed;
        Position += consumed;
        LineNumber += consumed > 0 ? 1 : 0;
        return line.Span.EndsWith("\r"u8) ? line[..^1] : line;
    }

    /// <summary>Reads more behind what is not used yet; false at the end of the file.</summary>
    private bool Fill()
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start.._end).CopyTo(_buffer);
            (_start, _end) = (0, _end - _start);
        }

        if (_end == _buffer.Length)
        {
            if (_end >= LongestLine)
            {
                throw new TrainingDataException(new SourceLine(_stream.Name, LineNumber + 1), "the line is longer than 1 GiB; write one record a line.");
            }

            Array.Resize(ref _buffer, _buffer.Length * 2);
        }

        int read = _stream.Read(_buffer, _end, _buffer.Length - _end);
        _end += read;
        return read > 0;
    }
}
