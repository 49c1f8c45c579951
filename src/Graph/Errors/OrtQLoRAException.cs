namespace OrtQLoRA.Graph;

/// <summary>Base of every error that OrtQLoRA reports on purpose. The message says what, where and how to mend.</summary>
public abstract class OrtQLoRAException : Exception
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What went wrong, where, and how to mend it.</param>
    /// <param name="innerException">The cause, if another error led here.</param>
    protected OrtQLoRAException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }

    /// <summary>Whether the user can mend it (exit code 1) or it is a fault of OrtQLoRA (exit code 2).</summary>
    public virtual bool IsUserError => true;
}
