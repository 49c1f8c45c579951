using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>
/// Builds the input gradients (vector-Jacobian products) of one operator call.
/// </summary>
/// <returns>
/// One gradient for each input of the node, null where there is none. A gradient may still have the broadcast
/// shape of the output; the walk sums it down to the input's shape.
/// </returns>
public delegate IReadOnlyList<Value?> GradientRule(GradientContext context);
