namespace OrtQLoRA.Trainer.Configuration;

/// <summary>Precision of matrix products and of the activations between them.</summary>
public enum ComputePrecision
{
    /// <summary>The model's own types.</summary>
    Fp32,

    /// <summary>IEEE half precision, with dynamic loss scaling.</summary>
    Fp16,

    /// <summary>The upper half of fp32: its range, 8 bits of mantissa.</summary>
    Bf16,
}
