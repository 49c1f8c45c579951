namespace OrtQLoRA.Trainer.Data;

/// <summary>Token ids of a record's text.</summary>
/// <param name="Ids">The ids.</param>
/// <param name="TypeIds">Segments, where the tokenizer tells two texts apart; null for zeros.</param>
/// <param name="Labels">Labels of a causal model; null where every token counts.</param>
internal readonly record struct EncodedText(long[] Ids, long[]? TypeIds = null, long[]? Labels = null);
