namespace OrtQLoRA.Trainer.Callbacks;

/// <summary>What a run came to.</summary>
/// <param name="RunFolder">The folder written.</param>
/// <param name="Steps">Every optimizer step.</param>
/// <param name="Evaluation">Evaluation after the last step, if eval data was given.</param>
public sealed record TrainingResult(string RunFolder, IReadOnlyList<StepMetrics> Steps, EvaluationResult? Evaluation);
