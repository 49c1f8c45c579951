using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Checkpoints;

/// <summary>A run cannot go on from its checkpoint, or would overwrite one.</summary>
public sealed class CheckpointException : OrtQLoRAException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">The checkpoint, what is wrong, and how to mend it.</param>
    /// <param name="innerException">The cause, if another error led here.</param>
    public CheckpointException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
