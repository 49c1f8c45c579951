namespace OrtQLoRA.Trainer.Tokenizers.SentencePiece;

/// <summary>What a SentencePiece token stands for; the numbers are the file's.</summary>
internal enum PieceKind
{
    /// <summary>Its text.</summary>
    Normal = 1,

    /// <summary>Text that no token spells.</summary>
    Unknown = 2,

    /// <summary>Something that is not in texts, such as the beginning.</summary>
    Control = 3,

    /// <summary>Its text, which nothing splits.</summary>
    UserDefined = 4,

    /// <summary>Nothing.</summary>
    Unused = 5,

    /// <summary>A byte.</summary>
    Byte = 6,
}
