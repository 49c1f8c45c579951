namespace OrtQLoRA.Trainer.Configuration;

/// <summary>Which operators the training graph may use.</summary>
public enum OpsMode
{
    /// <summary>The native library's where it is there, else standard operators.</summary>
    Auto,

    /// <summary>Standard operators only: runs on any ONNX Runtime.</summary>
    Portable,
}
