namespace OrtQLoRA.Graph.Gradients;

/// <summary>What the gradient of a value is on which the loss does not depend.</summary>
public enum UnreachableGradient
{
    /// <summary>Zeros of the value's shape.</summary>
    Zeros,

    /// <summary>An error that names the value: training it would have no effect.</summary>
    Error,
}
