namespace OrtQLoRA.Trainer.Configuration;

/// <summary>What happens to examples that are longer than the greatest length.</summary>
public enum TruncationPolicy
{
    /// <summary>Their end is cut off; special tokens that a tokenizer puts behind a text stay.</summary>
    Right,

    /// <summary>Their beginning is cut off.</summary>
    Left,

    /// <summary>They are left out.</summary>
    Drop,

    /// <summary>They end the run.</summary>
    Error,
}
