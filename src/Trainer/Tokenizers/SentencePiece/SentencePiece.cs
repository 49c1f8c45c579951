namespace OrtQLoRA.Trainer.Tokenizers.SentencePiece;

/// <summary>A token of a SentencePiece model.</summary>
/// <param name="Text">Its text, with U+2581 for spaces.</param>
/// <param name="Score">Its log probability.</param>
/// <param name="Kind">What it stands for.</param>
internal sealed record SentencePiece(string Text, float Score, PieceKind Kind)
{
    /// <summary>Whether it is looked for in texts.</summary>
    internal bool IsInTexts => Kind is PieceKind.Normal or PieceKind.UserDefined;
}
