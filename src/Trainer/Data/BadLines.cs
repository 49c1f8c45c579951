using System.Globalization;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data.Formats;

namespace OrtQLoRA.Trainer.Data;

/// <summary>Does with records that cannot be used what the policy says, and counts them.</summary>
internal sealed class BadLines
{
    private const int Shown = 5;

    private readonly DataRequirements _requirements;
    private readonly List<string> _first = [];
    private long _dropped;

    internal BadLines(DataRequirements requirements)
    {
        _requirements = requirements;
    }

    /// <summary>Records left out, those that were only too long included.</summary>
    internal long Count { get; private set; }

    /// <summary>Makes an example of a record.</summary>
    /// <returns>Null if the record is left out.</returns>
    /// <exception cref="TrainingDataException">The record cannot be used, and that ends the run.</exception>
    internal TrainingExample? Try(ExampleParser parser, RecordOrFault read)
    {
        try
        {
            return parser.Parse(read.Record ?? throw read.Fault!);
        }
        catch (ExampleTooLongException) when (_requirements.Truncation == TruncationPolicy.Drop)
        {
            _dropped++;
            Count++;
        }
        catch (TrainingDataException e) when (_requirements.OnBadLine == BadLinePolicy.Skip)
        {
            Add(e);
        }

        return null;
    }

    /// <summary>Takes note of a fault, or ends the run.</summary>
    internal void Add(TrainingDataException fault)
    {
        if (_requirements.OnBadLine == BadLinePolicy.Stop)
        {
            throw fault;
        }

        Count++;
        if (_first.Count < Shown)
        {
            _first.Add(fault.Message);
        }
    }

    /// <summary>Says what was left out.</summary>
    internal void Report()
    {
        if (_dropped > 0)
        {
            _requirements.Warn?.Invoke(string.Create(
                CultureInfo.InvariantCulture, $"{_dropped:N0} examples are longer than {_requirements.MaxLength ?? _requirements.ContextLength} tokens and are left out."));
        }

        if (_first.Count > 0)
        {
            long skipped = Count - _dropped;
            _requirements.Warn?.Invoke(string.Create(
                CultureInfo.InvariantCulture, $"{skipped:N0} bad lines are left out{(skipped > _first.Count ? $"; the first {_first.Count}" : "")}:{Environment.NewLine}{string.Join(Environment.NewLine, _first)}"));
        }
    }
}
