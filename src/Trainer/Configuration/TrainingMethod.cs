namespace OrtQLoRA.Trainer.Configuration;

/// <summary>What is trained.</summary>
public enum TrainingMethod
{
    /// <summary>Low-rank matrices beside frozen weights.</summary>
    Lora,

    /// <summary>The weights themselves, all or chosen ones.</summary>
    Full,

    /// <summary>The biases only (Ben Zaken et al., arXiv 2106.10199).</summary>
    BitFit,
}
