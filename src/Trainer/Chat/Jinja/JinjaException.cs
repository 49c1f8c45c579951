using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>A template cannot be read or rendered; the message says where.</summary>
public sealed class JinjaException : OrtQLoRAException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What is wrong, and on which line of the template.</param>
    public JinjaException(string message)
        : base(message)
    {
    }
}
