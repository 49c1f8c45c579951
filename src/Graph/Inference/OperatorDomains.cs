namespace OrtQLoRA.Graph.Inference;

/// <summary>Domains of operators beside ONNX's own.</summary>
internal static class OperatorDomains
{
    /// <summary>ONNX Runtime's contributed operators.</summary>
    internal const string Microsoft = "com.microsoft";

    /// <summary>The project's own operators.</summary>
    internal const string OrtQLoRA = "ortqlora";

    /// <summary>Version of <see cref="OrtQLoRA"/> that graphs ask for.</summary>
    internal const long OrtQLoRAVersion = 1;
}
