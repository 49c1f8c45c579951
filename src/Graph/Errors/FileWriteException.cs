namespace OrtQLoRA.Graph;

/// <summary>A file cannot be written: no folder, no permission, no space.</summary>
public sealed class FileWriteException : OrtQLoRAException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">Which file, why, and how to mend it.</param>
    /// <param name="innerException">The operating system's answer.</param>
    public FileWriteException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
