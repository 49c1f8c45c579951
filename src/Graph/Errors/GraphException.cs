namespace OrtQLoRA.Graph;

/// <summary>A graph breaks a rule of ONNX: single assignment, order, types or names.</summary>
public sealed class GraphException : OrtQLoRAException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">Which rule is broken, by which node or value, and how to mend it.</param>
    public GraphException(string message)
        : base(message)
    {
    }
}
