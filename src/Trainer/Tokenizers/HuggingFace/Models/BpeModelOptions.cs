namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;

/// <summary>Rules of byte-pair encoding besides vocabulary and merges.</summary>
internal sealed record BpeModelOptions
{
    /// <summary>Token for characters that the vocabulary lacks; null drops them.</summary>
    public string? UnknownToken { get; init; }

    /// <summary>Whether several unknown characters in a row are one token.</summary>
    public bool FuseUnknown { get; init; }

    /// <summary>Whether characters that the vocabulary lacks become tokens of their bytes, <c>&lt;0x0A&gt;</c>.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>Whether a word that is a token as a whole is taken so, without merging.</summary>
    public bool IgnoreMerges { get; init; }

    /// <summary>What begins every token that goes on a word; usually empty.</summary>
    public string ContinuingPrefix { get; init; } = "";

    /// <summary>What ends the last token of a word; usually empty.</summary>
    public string EndOfWordSuffix { get; init; } = "";
}
