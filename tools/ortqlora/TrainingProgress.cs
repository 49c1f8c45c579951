using System.Diagnostics;
using System.Globalization;
using OrtQLoRA.Trainer.Callbacks;
using Spectre.Console;

namespace OrtQLoRA.Cli;

/// <summary>
/// Shows a run on the error stream: a bar with loss, smoothed loss, learning rate, tokens per second, memory and remaining
/// time on a terminal, one line now and then elsewhere.
/// </summary>
internal sealed class TrainingProgress : ITrainingCallback, IDisposable
{
    private static readonly TimeSpan LineInterval = TimeSpan.FromSeconds(5);

    private readonly CommandContext _context;
    private readonly ManualResetEventSlim _finished = new();
    private readonly Stopwatch _sinceLine = Stopwatch.StartNew();
    private readonly Stopwatch _sinceStart = new();
    private readonly LossAverage _average = new();
    private readonly Process _process = Process.GetCurrentProcess();
    private ProgressTask? _task;
    private Task? _display;
    private long _total;
    private long _first;

    internal TrainingProgress(CommandContext context)
    {
        _context = context;
    }

    /// <inheritdoc/>
    public void OnStage(string description) => Say($"{description} ...");

    /// <inheritdoc/>
    public void OnWarning(string message) => Say($"Warning: {message}");

    /// <inheritdoc/>
    public void OnCheckpoint(string folder, long step)
    {
        if (_task is null)
        {
            Say($"Checkpoint of step {step}: {folder}");
        }
    }

    /// <inheritdoc/>
    public void OnEvaluated(EvaluationResult result)
    {
        if (_total > 0)
        {
            Say(string.Create(CultureInfo.InvariantCulture, $"eval loss {result.Loss:F4}{Accuracy(result)} in {result.Seconds:F1} s"));
        }
    }

    /// <inheritdoc/>
    public void OnRunStart(TrainingRunInfo info)
    {
        _total = info.TotalSteps;
        _first = info.CompletedSteps;
        _sinceStart.Start();
        double share = 100.0 * info.TrainableParameters / Math.Max(1, info.TrainableParameters + info.FrozenParameters);
        Say(string.Create(
            CultureInfo.InvariantCulture,
            $"{info.ExampleCount} examples, {info.TotalSteps} steps; {info.AdaptedModules.Count} modules; {info.TrainableParameters:N0} of {info.TrainableParameters + info.FrozenParameters:N0} parameters are trained ({share:F2} %)."));
        if (_context.Progress.Profile.Capabilities.Interactive && _context.Progress.Profile.Out.IsTerminal)
        {
            StartBar();
        }
    }

    /// <inheritdoc/>
    public void OnStepEnd(StepMetrics metrics)
    {
        double smoothed = _average.Add(metrics.Loss);
        bool showsLine = metrics.Step == _first + 1 || metrics.Step == _total || _sinceLine.Elapsed >= LineInterval;
        if (_task is null && !showsLine)
        {
            return;
        }

        _process.Refresh();
        string text = string.Create(
            CultureInfo.InvariantCulture,
            $"step {metrics.Step}/{_total}  loss {metrics.Loss:F4} (smoothed {smoothed:F4})  grad norm {metrics.GradientNorm:G4}  lr {metrics.LearningRate:G4}  {metrics.Tokens / Math.Max(metrics.Seconds, 1e-9):N0} tokens/s  {_process.WorkingSet64 / 1e9:F1} GB");
        if (_task is not null)
        {
            _task.Value = metrics.Step;
            _task.Description = text;
        }
        else
        {
            TimeSpan left = _sinceStart.Elapsed / Math.Max(1, metrics.Step - _first) * (_total - metrics.Step);
            Say($"{text}  {TimeSpan.FromSeconds(Math.Ceiling(left.TotalSeconds)):c} left");
            _sinceLine.Restart();
        }
    }

    /// <summary>Ends the display; later output starts on a line of its own.</summary>
    internal void Finish()
    {
        _finished.Set();
        _display?.Wait();
        _display = null;
        _task = null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Finish();
        _finished.Dispose();
        _process.Dispose();
    }

    private static string Accuracy(EvaluationResult result) =>
        result.Accuracy is double accuracy ? string.Create(CultureInfo.InvariantCulture, $", accuracy {accuracy:P2}") : "";

    /// <summary>Writes a line; above the bar where there is one.</summary>
    private void Say(string line)
    {
        if (_task is null)
        {
            _context.Error.WriteLine(line);
        }
        else
        {
            _context.Progress.WriteLine(line);
        }
    }

    private void StartBar()
    {
        using ManualResetEventSlim started = new();
        _display = Task.Run(() => _context.Progress.Progress()
            .Columns(new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn(), new TaskDescriptionColumn())
            .Start(display =>
            {
                _task = display.AddTask("starting", maxValue: _total);
                _task.Value = _first;
                started.Set();
                _finished.Wait();
            }));
        started.Wait();
    }
}
