using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Losses;

/// <summary>Computes a loss from an output of a model: what training minimises.</summary>
public interface ILossHead
{
    /// <summary>Name on the command line, for example <c>causal-lm</c>.</summary>
    string Name { get; }

    /// <summary>
    /// Appends the loss to a model. Adds the graph input that holds what the output should be
    /// (<see cref="Training.ArtifactNames.Labels"/> or <see cref="Training.ArtifactNames.Target"/>) and a value named
    /// <see cref="Training.ArtifactNames.Loss"/>; whether that becomes a graph output is the caller's choice.
    /// </summary>
    /// <param name="model">The model; extended in place.</param>
    /// <param name="output">The value that the loss looks at, usually a graph output. Its type must be inferred.</param>
    /// <returns>The loss and the new input.</returns>
    /// <exception cref="GraphException">The output has the wrong type or rank, or a name that the head needs is taken.</exception>
    LossAttachment Attach(OnnxModel model, Value output);
}
