namespace OrtQLoRA.Trainer.Configuration;

/// <summary>How the frozen weights of linear layers are kept.</summary>
public enum QuantizationKind
{
    /// <summary>As the model has them.</summary>
    None,

    /// <summary>EETQ int8, one scale for each output channel.</summary>
    Eetq,

    /// <summary>EETQ int8 with each dequantized weight rounded to fp16, as EETQ's kernels round it: for runs that are compared with PEFT's.</summary>
    EetqFp16,
}
