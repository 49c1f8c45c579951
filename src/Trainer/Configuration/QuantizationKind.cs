namespace OrtQLoRA.Trainer.Configuration;

/// <summary>How the frozen weights of linear layers are kept.</summary>
public enum QuantizationKind
{
    /// <summary>As the model has them.</summary>
    None,

    /// <summary>EETQ int8, one scale for each output channel.</summary>
    Eetq,
}
