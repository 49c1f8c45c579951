namespace OrtQLoRA.Trainer.Callbacks.Events;

/// <summary>Everything is ready; the first step comes next.</summary>
/// <param name="Info">What the run is about to do.</param>
public sealed record RunStarted(TrainingRunInfo Info) : TrainingEvent;
