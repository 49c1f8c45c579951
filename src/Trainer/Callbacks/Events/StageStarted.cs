namespace OrtQLoRA.Trainer.Callbacks.Events;

/// <summary>A stage of preparation begins.</summary>
/// <param name="Description">What it is, for example <c>Reading the model</c>.</param>
public sealed record StageStarted(string Description) : TrainingEvent;
