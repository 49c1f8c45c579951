namespace OrtQLoRA.Trainer.Tokenizers;

/// <summary>Ids with a meaning of their own; null where the vocabulary has none.</summary>
/// <param name="Unknown">Stands for text that the vocabulary cannot express.</param>
/// <param name="BeginningOfSequence">Begins a sequence.</param>
/// <param name="EndOfSequence">Ends a sequence; text generation stops at it.</param>
/// <param name="Padding">Fills up the shorter sequences of a batch.</param>
public sealed record SpecialTokens(
    int? Unknown = null, int? BeginningOfSequence = null, int? EndOfSequence = null, int? Padding = null);
