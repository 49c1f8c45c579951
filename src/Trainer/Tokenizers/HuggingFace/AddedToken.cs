namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>A token that is found in the text as it stands, before the vocabulary's model sees the rest.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Content">Its text.</param>
/// <param name="IsSpecial">Whether decoding leaves it out on request.</param>
/// <param name="IsNormalized">Whether it is looked for in the normalized text instead of in the raw one.</param>
/// <param name="IsSingleWord">Whether it counts only where no letter, digit or underscore touches it.</param>
/// <param name="StripsLeft">Whether white space before it belongs to it.</param>
/// <param name="StripsRight">Whether white space behind it belongs to it.</param>
internal sealed record AddedToken(
    int Id, string Content, bool IsSpecial, bool IsNormalized, bool IsSingleWord, bool StripsLeft, bool StripsRight);
