namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.PreTokenizers;

/// <summary>Cuts text into words.</summary>
/// <param name="text">Text between added tokens.</param>
/// <param name="isFirst">Whether it stands at the beginning of the whole text.</param>
internal delegate IEnumerable<string> PreTokenizer(string text, bool isFirst);
