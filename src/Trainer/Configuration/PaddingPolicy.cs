namespace OrtQLoRA.Trainer.Configuration;

/// <summary>The length to which the rows of a batch are padded.</summary>
public enum PaddingPolicy
{
    /// <summary>That of the longest row.</summary>
    Longest,

    /// <summary>The greatest length, so that every batch has one shape.</summary>
    MaxLength,
}
