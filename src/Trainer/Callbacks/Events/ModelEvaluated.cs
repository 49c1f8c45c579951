namespace OrtQLoRA.Trainer.Callbacks.Events;

/// <summary>The model was evaluated on the eval data.</summary>
/// <param name="Result">How well it does.</param>
public sealed record ModelEvaluated(EvaluationResult Result) : TrainingEvent;
