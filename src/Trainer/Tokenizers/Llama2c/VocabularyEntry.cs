namespace OrtQLoRA.Trainer.Tokenizers.Llama2c;

/// <summary>One token of a llama2.c vocabulary.</summary>
/// <param name="Bytes">UTF-8 of the token's text.</param>
/// <param name="Score">Of two pairs that can merge, the one whose result has the higher score goes first.</param>
public readonly record struct VocabularyEntry(ReadOnlyMemory<byte> Bytes, float Score);
