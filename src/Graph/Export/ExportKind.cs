namespace OrtQLoRA.Graph.Export;

/// <summary>What an export writes.</summary>
public enum ExportKind
{
    /// <summary>The original model with the adapter merged into its weights.</summary>
    Merged,

    /// <summary>The merged model with int8 weights.</summary>
    Int8,

    /// <summary>An <c>.onnx_adapter</c> file and the base model with optional LoRA inputs.</summary>
    Adapter,

    /// <summary>An adapter folder as PEFT writes it.</summary>
    Peft,

    /// <summary>The merged weights as a Hugging Face checkpoint quantized by EETQ.</summary>
    Eetq,
}
