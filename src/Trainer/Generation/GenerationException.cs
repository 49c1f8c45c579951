using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Generation;

/// <summary>A model cannot generate text: its inputs or outputs are not those of a decoder, or its logits are no numbers.</summary>
public sealed class GenerationException : OrtQLoRAException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">Which model, what is wrong with it, and how to mend it.</param>
    /// <param name="innerException">The runtime's own error, if any.</param>
    public GenerationException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
