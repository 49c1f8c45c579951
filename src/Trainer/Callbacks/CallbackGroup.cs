namespace OrtQLoRA.Trainer.Callbacks;

/// <summary>Tells several callbacks, in order.</summary>
public sealed class CallbackGroup : ITrainingCallback
{
    private readonly IReadOnlyList<ITrainingCallback> _members;

    /// <summary>Creates the group.</summary>
    /// <param name="members">Whom to tell.</param>
    public CallbackGroup(params IReadOnlyList<ITrainingCallback> members)
    {
        _members = members;
    }

    /// <inheritdoc/>
    public void OnStage(string description) => Tell(c => c.OnStage(description));

    /// <inheritdoc/>
    public void OnRunStart(TrainingRunInfo info) => Tell(c => c.OnRunStart(info));

    /// <inheritdoc/>
    public void OnStepEnd(StepMetrics metrics) => Tell(c => c.OnStepEnd(metrics));

    /// <inheritdoc/>
    public void OnEvaluated(EvaluationResult result) => Tell(c => c.OnEvaluated(result));

    /// <inheritdoc/>
    public void OnCheckpoint(string folder, long step) => Tell(c => c.OnCheckpoint(folder, step));

    /// <inheritdoc/>
    public void OnWarning(string message) => Tell(c => c.OnWarning(message));

    /// <inheritdoc/>
    public void OnRunEnd(TrainingResult result) => Tell(c => c.OnRunEnd(result));

    private void Tell(Action<ITrainingCallback> tell)
    {
        foreach (ITrainingCallback member in _members)
        {
            tell(member);
        }
    }
}
