namespace OrtQLoRA.Graph;

/// <summary>An operator cannot be handled here, for example because it has no gradient rule.</summary>
public sealed class UnsupportedOpException : OrtQLoRAException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">Operator, domain, opset, node, and the nearest way out.</param>
    public UnsupportedOpException(string message)
        : base(message)
    {
    }
}
