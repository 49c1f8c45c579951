using System.Globalization;
using Google.Protobuf;
using OrtQLoRA.Trainer.Callbacks;

namespace OrtQLoRA.Trainer.Reports.TensorBoard;

/// <summary>
/// Writes the run as a TensorBoard event file, step by step. A resumed run begins a file of its own whose first record tells
/// TensorBoard to forget what earlier files hold of later steps.
/// </summary>
internal sealed class EventFileCallback : ITrainingCallback, IDisposable
{
    /// <summary>How the names of event files begin.</summary>
    internal const string FilePrefix = "events.out.tfevents.";

    private const string FileVersion = "brain.Event:2";

    private readonly string _folder;
    private readonly ITrainingCallback _warnings;
    private FileStream? _stream;

    /// <summary>Prepares the file; it is made when the run starts.</summary>
    /// <param name="folder">The run folder.</param>
    /// <param name="warnings">Is told if the disk refuses.</param>
    internal EventFileCallback(string folder, ITrainingCallback warnings)
    {
        _folder = folder;
        _warnings = warnings;
    }

    /// <inheritdoc/>
    public void OnRunStart(TrainingRunInfo info) => Guard(() =>
    {
        long seconds = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        string name = string.Create(CultureInfo.InvariantCulture, $"{FilePrefix}{seconds:D10}.{Environment.MachineName}.{Environment.ProcessId}.0");
        _stream = new FileStream(Path.Combine(_folder, name), FileMode.Create, FileAccess.Write, FileShare.Read);
        Write(new Event { FileVersion = FileVersion });
        if (info.CompletedSteps > 0)
        {
            Write(new Event { Step = info.CompletedSteps + 1, SessionLog = new SessionLog { Status = SessionLog.Types.SessionStatus.Start } });
        }
    });

    /// <inheritdoc/>
    public void OnStepEnd(StepMetrics metrics) => Guard(() =>
    {
        Summary summary = new();
        void Add(string tag, double? value)
        {
            if (value is double number && double.IsFinite(number))
            {
                summary.Value.Add(new Summary.Types.Value { Tag = tag, SimpleValue = (float)number });
            }
        }

        Add("train/loss", metrics.Loss);
        Add("train/grad_norm", metrics.GradientNorm);
        Add("train/learning_rate", metrics.LearningRate);
        Add("train/epoch", metrics.Epoch);
        Add("train/tokens_per_second", metrics.Seconds > 0 ? metrics.Tokens / metrics.Seconds : null);
        Add("eval/loss", metrics.EvalLoss);
        Add("eval/accuracy", metrics.EvalAccuracy);
        Write(new Event { Step = metrics.Step, Summary = summary });
    });

    /// <inheritdoc/>
    public void Dispose() => _stream?.Dispose();

    private void Write(Event item)
    {
        item.WallTime = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;
        _stream?.Write(RecordWriter.Frame(item.ToByteArray()));
        _stream?.Flush();
    }

    /// <summary>The events are a view of the metrics; a disk that refuses them must not end the run.</summary>
    private void Guard(Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _warnings.OnWarning($"TensorBoard's event file cannot be written and ends here: {e.Message}");
            Discard();
        }
    }

    private void Discard()
    {
        FileStream? stream = _stream;
        _stream = null;
        try
        {
            stream?.Dispose();
        }
        catch (IOException)
        {
            // A full disk fails the last buffer again on closing.
        }
    }
}
