namespace OrtQLoRA.Trainer.Callbacks;

/// <summary>Is told how a run goes on, for progress displays and logs. Every method does nothing unless overridden.</summary>
public interface ITrainingCallback
{
    /// <summary>A stage of preparation begins, for example <c>Reading the model</c>.</summary>
    void OnStage(string description)
    {
    }

    /// <summary>Everything is ready; the first step comes next.</summary>
    void OnRunStart(TrainingRunInfo info)
    {
    }

    /// <summary>An optimizer step is done.</summary>
    void OnStepEnd(StepMetrics metrics)
    {
    }

    /// <summary>The model was evaluated on data of its own.</summary>
    void OnEvaluated(EvaluationResult result)
    {
    }

    /// <summary>A checkpoint is written and whole.</summary>
    /// <param name="folder">Its folder.</param>
    /// <param name="step">The step after which it was taken.</param>
    void OnCheckpoint(string folder, long step)
    {
    }

    /// <summary>Something needs attention but does not stop the run.</summary>
    void OnWarning(string message)
    {
    }

    /// <summary>The run is over and its folder is written.</summary>
    void OnRunEnd(TrainingResult result)
    {
    }
}
