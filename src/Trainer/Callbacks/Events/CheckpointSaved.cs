namespace OrtQLoRA.Trainer.Callbacks.Events;

/// <summary>A checkpoint is written and whole.</summary>
/// <param name="Folder">Its folder.</param>
/// <param name="Step">The step after which it was taken.</param>
public sealed record CheckpointSaved(string Folder, long Step) : TrainingEvent;
