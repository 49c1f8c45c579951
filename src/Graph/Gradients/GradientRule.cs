using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>
/// Builds the input gradients (vector-Jacobian products) of one operator call.
/// </summary>
/// <returns>
/// Exactly one gradient for each input of the node, null where there is none (the derivative is zero, or the input is
/// no differentiable one). A gradient has the input's element type; it may still have the broadcast shape of the
/// output, and the walk sums it down to the input's shape.
/// </returns>
public delegate IReadOnlyList<Value?> GradientRule(GradientContext context);
