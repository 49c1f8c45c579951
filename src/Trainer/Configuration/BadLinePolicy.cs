namespace OrtQLoRA.Trainer.Configuration;

/// <summary>What happens at a record that cannot be used.</summary>
public enum BadLinePolicy
{
    /// <summary>The run ends before it begins, with file, line and column.</summary>
    Stop,

    /// <summary>The record is left out; how many were, and the first few, are reported.</summary>
    Skip,
}
