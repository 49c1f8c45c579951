namespace OrtQLoRA.Trainer.Configuration;

/// <summary>What runs the training steps.</summary>
public enum EngineKind
{
    /// <summary>The project's own, on inference sessions of any current ONNX Runtime.</summary>
    Session,

    /// <summary>ONNX Runtime's training session: release 1.19.2, CPU, in builds with <c>-p:OrtFlavor=Training</c>.</summary>
    OrtTraining,
}
