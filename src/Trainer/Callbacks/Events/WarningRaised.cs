namespace OrtQLoRA.Trainer.Callbacks.Events;

/// <summary>Something needs attention but does not stop the run.</summary>
/// <param name="Message">What it is.</param>
public sealed record WarningRaised(string Message) : TrainingEvent;
