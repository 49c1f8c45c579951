using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>The formula of one kind of recurrent cell, as far as its gradient differs from other kinds'.</summary>
internal abstract class RecurrentCell
{
    /// <summary>Gates whose weights lie one under the other in W, R and B.</summary>
    public abstract int Gates { get; }

    /// <summary>Whether there is a cell state beside the hidden state.</summary>
    public virtual bool HasCellState => false;

    /// <summary>Activations of one direction where the node names none.</summary>
    public abstract string[] DefaultActivations { get; }

    /// <summary>Whether the gradient is known for these activations of one direction.</summary>
    public virtual bool Supports(string[] activations) => activations.AsSpan().SequenceEqual(DefaultActivations);

    /// <summary>Emits the gradients of the sums that the gates are computed from, last step first.</summary>
    /// <param name="pass">One direction of the layer, its steps in the order in which they were computed.</param>
    public abstract RecurrentGateGradients Differentiate(RecurrentPass pass);
}
