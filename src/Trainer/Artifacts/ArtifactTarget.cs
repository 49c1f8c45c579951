namespace OrtQLoRA.Trainer.Artifacts;

/// <summary>Where artifacts for ONNX Runtime's on-device training are to run.</summary>
public enum ArtifactTarget
{
    /// <summary>Any program with a training build of ONNX Runtime 1.18 or 1.19.</summary>
    Any,

    /// <summary>A browser or Node, with onnxruntime-web's training build: one file each, 32-bit memory, one learning rate.</summary>
    Web,

    /// <summary>Android or iOS, with the training packages for mobile devices.</summary>
    Mobile,
}
