using System.Collections;
using System.Text.Json;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data.Formats;

namespace OrtQLoRA.Trainer.Data;

/// <summary>
/// Examples of JSON lines, read and tokenized when they are asked for. Of the files only the place of every 64th line is kept,
/// an eighth of a byte a line. Opening looks at encoding and syntax of every line; where lines may be left out it makes
/// every example once, so that the number of examples is known.
/// </summary>
internal sealed class StreamedExamples : IReadOnlyList<TrainingExample>, IDisposable
{
    private const int Stride = 64;

    private readonly IReadOnlyList<string> _files;
    private readonly DataRequirements _requirements;
    private readonly ExampleParser _parser;
    private readonly List<Mark> _marks = [];
    private readonly HashSet<(int File, long Line)> _leftOut = [];
    private readonly Lock _gate = new();
    private Utf8LineReader? _reader;
    private int _openFile = -1;
    private int _next = -1;

    private StreamedExamples(IReadOnlyList<string> files, DataRequirements requirements)
    {
        _files = files;
        _requirements = requirements;
        _parser = new ExampleParser(requirements);
    }

    /// <inheritdoc/>
    public int Count { get; private set; }

    /// <inheritdoc/>
    public TrainingExample this[int index]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfNegative(index);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, Count);
            lock (_gate)
            {
                // Neighbours in a row need no search.
                if (index != _next)
                {
                    Mark mark = _marks[index / Stride];
                    Open(mark.File);
                    _reader!.SeekTo(mark.Position, mark.LinesBefore);
                    _next = index - (index % Stride);
                    while (_next < index)
                    {
                        NextLine();
                        _next++;
                    }
                }

                ReadOnlyMemory<byte> line = NextLine();
                _next++;
                return Parse(line, new SourceLine(_files[_openFile], _reader!.LineNumber));
            }
        }
    }

    /// <summary>Looks through the files.</summary>
    /// <param name="files">JSON lines.</param>
    /// <param name="requirements">What records are checked against.</param>
    /// <param name="faults">Gets the lines that cannot be used.</param>
    internal static StreamedExamples Open(IReadOnlyList<string> files, DataRequirements requirements, BadLines faults)
    {
        StreamedExamples examples = new(files, requirements);
        for (int file = 0; file < files.Count; file++)
        {
            examples.Index(file, faults);
        }

        return examples;
    }

    /// <inheritdoc/>
    public IEnumerator<TrainingExample> GetEnumerator()
    {
        for (int i = 0; i < Count; i++)
        {
            yield return this[i];
        }
    }

    /// <inheritdoc/>
    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <inheritdoc/>
    public void Dispose() => _reader?.Dispose();

    private void Index(int file, BadLines faults)
    {
        bool makesExamples = _requirements.OnBadLine == BadLinePolicy.Skip || _requirements.Truncation == TruncationPolicy.Drop;
        using Utf8LineReader lines = new(_files[file]);
        for (long position = lines.Position; lines.TryRead(out ReadOnlyMemory<byte> line); position = lines.Position)
        {
            if (JsonLinesReader.IsBlank(line.Span))
            {
                continue;
            }

            SourceLine source = new(_files[file], lines.LineNumber);
            if (!IsUsable(line, source, makesExamples, faults))
            {
                _leftOut.Add((file, lines.LineNumber));
                continue;
            }

            if (Count % Stride == 0)
            {
                _marks.Add(new Mark(file, position, lines.LineNumber - 1));
            }

            Count = checked(Count + 1);
        }
    }

    private bool IsUsable(ReadOnlyMemory<byte> line, SourceLine source, bool makesExample, BadLines faults)
    {
        if (!makesExample)
        {
            if (JsonLinesReader.FaultOf(line.Span, source) is TrainingDataException fault)
            {
                throw fault;
            }

            return true;
        }

        (JsonDocument? document, TrainingDataException? bad) = JsonLinesReader.Parse(line, source);
        using (document)
        {
            return faults.Try(_parser, new RecordOrFault(document is null ? null : new DataRecord(document.RootElement, source, _requirements.Columns), bad)) is not null;
        }
    }

    /// <summary>The next line that is an example, in this file or the next.</summary>
    private ReadOnlyMemory<byte> NextLine()
    {
        while (true)
        {
            while (_reader!.TryRead(out ReadOnlyMemory<byte> line))
            {
                if (!JsonLinesReader.IsBlank(line.Span) && !_leftOut.Contains((_openFile, _reader.LineNumber)))
                {
                    return line;
                }
            }

            if (_openFile + 1 >= _files.Count)
            {
                throw new TrainingDataException($"The data file '{_files[_openFile]}' has fewer lines than at the beginning of the run; leave data files alone while they are read.");
            }

            Open(_openFile + 1);
        }
    }

    private void Open(int file)
    {
        if (file != _openFile)
        {
            _reader?.Dispose();
            _reader = new Utf8LineReader(_files[file]);
            _openFile = file;
        }
    }

    private TrainingExample Parse(ReadOnlyMemory<byte> line, SourceLine source)
    {
        (JsonDocument? document, TrainingDataException? fault) = JsonLinesReader.Parse(line, source);
        using (document)
        {
            return document is null ? throw fault! : _parser.Parse(new DataRecord(document.RootElement, source, _requirements.Columns));
        }
    }

    /// <summary>Where an example's line begins.</summary>
    private readonly record struct Mark(int File, long Position, long LinesBefore);
}
