using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Data;

/// <summary>A data file cannot be used; the message begins with file and line.</summary>
public class TrainingDataException : OrtQLoRAException
{
    /// <summary>Creates the error for one line.</summary>
    /// <param name="source">The line.</param>
    /// <param name="message">What is wrong with it, and how to mend it.</param>
    /// <param name="innerException">The parser's own error, if any.</param>
    public TrainingDataException(SourceLine source, string message, Exception? innerException = null)
        : base($"{source}: {message}", innerException)
    {
    }

    /// <summary>Creates the error for a whole file.</summary>
    /// <param name="message">File, what is wrong, and how to mend it.</param>
    /// <param name="innerException">The cause, if another error led here.</param>
    public TrainingDataException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
