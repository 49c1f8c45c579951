namespace OrtQLoRA.Trainer.Configuration;

/// <summary>How micro-batches of unequal size weigh in gradient accumulation.</summary>
public enum LossNormalization
{
    /// <summary>Each micro-batch keeps its own mean and counts as one, as in a plain PyTorch loop.</summary>
    Mean,

    /// <summary>Each counted token weighs the same over the whole window, as in Hugging Face's Trainer.</summary>
    Tokens,
}
