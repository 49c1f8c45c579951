using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Engines;

/// <summary>ONNX Runtime refused a model or a batch.</summary>
public sealed class EngineException : OrtQLoRAException
{
    private readonly bool _isUserError;

    /// <summary>Creates the error.</summary>
    /// <param name="message">What was run, what the runtime says, and how to mend it.</param>
    /// <param name="innerException">The runtime's own error.</param>
    /// <param name="isUserError">Whether data or options are at fault rather than the graph that was built.</param>
    public EngineException(string message, Exception? innerException = null, bool isUserError = false)
        : base(message, innerException)
    {
        _isUserError = isUserError;
    }

    /// <inheritdoc/>
    public override bool IsUserError => _isUserError;
}
