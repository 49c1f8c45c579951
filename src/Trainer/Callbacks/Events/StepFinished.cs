namespace OrtQLoRA.Trainer.Callbacks.Events;

/// <summary>An optimizer step is done.</summary>
/// <param name="Metrics">Its line of the metrics.</param>
public sealed record StepFinished(StepMetrics Metrics) : TrainingEvent;
