namespace OrtQLoRA.Trainer.Callbacks.Events;

/// <summary>The run is over and its folder is written; the last event.</summary>
/// <param name="Result">What it came to.</param>
public sealed record RunFinished(TrainingResult Result) : TrainingEvent;
