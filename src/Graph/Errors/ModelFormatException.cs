namespace OrtQLoRA.Graph;

/// <summary>A file (model, safetensors, adapter, checkpoint data) is truncated, malformed or hostile.</summary>
public sealed class ModelFormatException : OrtQLoRAException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What is wrong with the file, where, and how to mend it.</param>
    /// <param name="innerException">The parser's own error, if any.</param>
    public ModelFormatException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
