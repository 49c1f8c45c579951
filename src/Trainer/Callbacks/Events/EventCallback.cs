namespace OrtQLoRA.Trainer.Callbacks.Events;

/// <summary>Turns calls into events.</summary>
internal sealed class EventCallback(Action<TrainingEvent> publish) : ITrainingCallback
{
    /// <inheritdoc/>
    public void OnStage(string description) => publish(new StageStarted(description));

    /// <inheritdoc/>
    public void OnRunStart(TrainingRunInfo info) => publish(new RunStarted(info));

    /// <inheritdoc/>
    public void OnStepEnd(StepMetrics metrics) => publish(new StepFinished(metrics));

    /// <inheritdoc/>
    public void OnEvaluated(EvaluationResult result) => publish(new ModelEvaluated(result));

    /// <inheritdoc/>
    public void OnCheckpoint(string folder, long step) => publish(new CheckpointSaved(folder, step));

    /// <inheritdoc/>
    public void OnWarning(string message) => publish(new WarningRaised(message));

    /// <inheritdoc/>
    public void OnRunEnd(TrainingResult result) => publish(new RunFinished(result));
}
