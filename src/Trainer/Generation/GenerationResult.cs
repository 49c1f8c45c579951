namespace OrtQLoRA.Trainer.Generation;

/// <summary>What a model generated.</summary>
/// <param name="Ids">The added ids, without the prompt and without the stop id.</param>
/// <param name="FinishReason">Why it ended.</param>
public sealed record GenerationResult(IReadOnlyList<int> Ids, FinishReason FinishReason);
