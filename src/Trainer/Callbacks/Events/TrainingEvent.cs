namespace OrtQLoRA.Trainer.Callbacks.Events;

/// <summary>Something that happened in a run; see <see cref="QLoraTrainer.StreamAsync"/>.</summary>
public abstract record TrainingEvent;
