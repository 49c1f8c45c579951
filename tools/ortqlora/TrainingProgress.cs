using System.Diagnostics;
using System.Globalization;
using OrtQLoRA.Trainer.Callbacks;
using Spectre.Console;

namespace OrtQLoRA.Cli;

/// <summary>
/// Shows a run on the error stream: a bar with loss, tokens per second and remaining time on a terminal, one line now and
/// then elsewhere.
/// </summary>
internal sealed class TrainingProgress : ITrainingCallback, IDisposable
{
    private static readonly TimeSpan LineInterval = TimeSpan.FromSeconds(5);

    private readonly CommandContext _context;
    private readonly ManualResetEventSlim _finished = new();
    private readonly Stopwatch _sinceLine = Stopwatch.StartNew();
    private ProgressTask? _task;
    private Task? _display;
    private long _total;

    internal TrainingProgress(CommandContext context)
    {
        _context = context;
    }

    /// <inheritdoc/>
    public void OnStage(string description) => _context.Error.WriteLine($"{description} ...");

    /// <inheritdoc/>
    public void OnWarning(string message) => _context.Error.WriteLine($"Warning: {message}");

    /// <inheritdoc/>
    public void OnRunStart(TrainingRunInfo info)
    {
        _total = info.TotalSteps;
        double share = 100.0 * info.TrainableParameters / Math.Max(1, info.TrainableParameters + info.FrozenParameters);
        _context.Error.WriteLine(string.Create(
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
        string text = string.Create(
            CultureInfo.InvariantCulture,
            $"step {metrics.Step}/{_total}  loss {metrics.Loss:F4}  grad norm {metrics.GradientNorm:G4}  lr {metrics.LearningRate:G4}  {metrics.Tokens / Math.Max(metrics.Seconds, 1e-9):N0} tokens/s");
        if (_task is not null)
        {
            _task.Value = metrics.Step;
            _task.Description = text;
        }
        else if (metrics.Step == 1 || metrics.Step == _total || _sinceLine.Elapsed >= LineInterval)
        {
            _context.Error.WriteLine(text);
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
    }

    private void StartBar()
    {
        using ManualResetEventSlim started = new();
        _display = Task.Run(() => _context.Progress.Progress()
            .Columns(new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn(), new TaskDescriptionColumn())
            .Start(display =>
            {
                _task = display.AddTask("starting", maxValue: _total);
                started.Set();
                _finished.Wait();
            }));
        started.Wait();
    }
}
