namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.PreTokenizers;

/// <summary>What becomes of the places where text is cut.</summary>
internal enum SplitBehavior
{
    /// <summary>Each is a word of its own.</summary>
    Isolated,

    /// <summary>They go.</summary>
    Removed,

    /// <summary>Each belongs to the word before it.</summary>
    MergedWithPrevious,

    /// <summary>Each belongs to the word behind it.</summary>
    MergedWithNext,

    /// <summary>Adjacent ones are one word.</summary>
    Contiguous,
}
