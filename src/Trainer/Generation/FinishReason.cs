namespace OrtQLoRA.Trainer.Generation;

/// <summary>Why generation ended.</summary>
public enum FinishReason
{
    /// <summary>As many tokens as asked for were added.</summary>
    MaxNewTokens,

    /// <summary>The model chose one of the stop ids.</summary>
    StopId,

    /// <summary>The model takes no longer sequence.</summary>
    ContextLength,
}
