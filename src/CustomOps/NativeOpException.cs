using OrtQLoRA.Graph;

namespace OrtQLoRA.CustomOps;

/// <summary>The native library is absent, does not fit, or refused a call.</summary>
public sealed class NativeOpException : OrtQLoRAException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What was asked of the library, what it says, and how to mend it.</param>
    /// <param name="innerException">The loader's own error, if any.</param>
    public NativeOpException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
