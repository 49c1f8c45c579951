using Microsoft.Extensions.Logging;

namespace OrtQLoRA.Trainer.Callbacks;

/// <summary>Writes a run to a logger: stages, evaluations, checkpoints and now and then a step as information, every step as debug.</summary>
public sealed partial class LoggingCallback : ITrainingCallback
{
    private readonly ILogger _logger;
    private readonly int _interval;
    private long _total;

    /// <summary>Creates the callback.</summary>
    /// <param name="logger">Where to write.</param>
    /// <param name="interval">Steps between those that are written as information.</param>
    public LoggingCallback(ILogger logger, int interval = 10)
    {
        ArgumentNullException.ThrowIfNull(logger);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(interval);
        _logger = logger;
        _interval = interval;
    }

    /// <inheritdoc/>
    public void OnStage(string description) => LogStage(description);

    /// <inheritdoc/>
    public void OnRunStart(TrainingRunInfo info)
    {
        ArgumentNullException.ThrowIfNull(info);
        _total = info.TotalSteps;
        LogStart(info.CompletedSteps, info.TotalSteps, info.ExampleCount, info.TrainableParameters, info.FrozenParameters);
    }

    /// <inheritdoc/>
    public void OnStepEnd(StepMetrics metrics)
    {
        ArgumentNullException.ThrowIfNull(metrics);
        LogLevel level = metrics.Step % _interval == 0 || metrics.Step == _total ? LogLevel.Information : LogLevel.Debug;
        LogStep(level, metrics.Step, _total, metrics.Loss, metrics.GradientNorm, metrics.LearningRate, metrics.Tokens, metrics.Seconds);
    }

    /// <inheritdoc/>
    public void OnEvaluated(EvaluationResult result)
    {
        ArgumentNullException.ThrowIfNull(result);
        LogEvaluation(result.Loss, result.Accuracy, result.Examples, result.Seconds);
    }

    /// <inheritdoc/>
    public void OnCheckpoint(string folder, long step) => LogCheckpoint(step, folder);

    /// <inheritdoc/>
    public void OnWarning(string message) => LogWarning(message);

    /// <inheritdoc/>
    public void OnRunEnd(TrainingResult result)
    {
        ArgumentNullException.ThrowIfNull(result);
        LogEnd(result.Steps.Count, result.RunFolder);
    }

    [LoggerMessage(1, LogLevel.Information, "{Stage}")]
    private partial void LogStage(string stage);

    [LoggerMessage(2, LogLevel.Information, "Training from step {Done} to {Total} on {Examples} examples: {Trainable} parameters trained, {Frozen} frozen")]
    private partial void LogStart(long done, long total, int examples, long trainable, long frozen);

    [LoggerMessage(EventId = 3, Message = "Step {Step} of {Total}: loss {Loss}, gradient norm {GradientNorm}, learning rate {LearningRate}, {Tokens} tokens in {Seconds} s")]
    private partial void LogStep(LogLevel level, long step, long total, double loss, double gradientNorm, double learningRate, long tokens, double seconds);

    [LoggerMessage(4, LogLevel.Information, "Evaluation: loss {Loss}, accuracy {Accuracy}, {Examples} examples in {Seconds} s")]
    private partial void LogEvaluation(double loss, double? accuracy, long examples, double seconds);

    [LoggerMessage(5, LogLevel.Information, "Checkpoint of step {Step} in {Folder}")]
    private partial void LogCheckpoint(long step, string folder);

    [LoggerMessage(6, LogLevel.Warning, "{Message}")]
    private partial void LogWarning(string message);

    [LoggerMessage(7, LogLevel.Information, "Training is over after {Steps} steps; the run is in {Folder}")]
    private partial void LogEnd(int steps, string folder);
}
