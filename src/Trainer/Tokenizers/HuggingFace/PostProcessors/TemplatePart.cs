namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.PostProcessors;

/// <summary>A part of a template: special tokens, or one of the texts.</summary>
/// <param name="Tokens">The special tokens; empty for a text.</param>
/// <param name="TextIndex">Which text, 0 or 1; null for special tokens.</param>
/// <param name="TypeId">The segment it counts to.</param>
internal sealed record TemplatePart(IReadOnlyList<int> Tokens, int? TextIndex, int TypeId);
