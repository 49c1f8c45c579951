using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>What a recurrent cell's gradient leaves to the products with inputs and weights.</summary>
/// <param name="Input">Gradient of the gates' sums over the input, [sequence, batch, gates * hidden].</param>
/// <param name="Hidden">Gradient of the gates' sums over the hidden state: one block of gates for each operand of R, in R's order.</param>
/// <param name="InitialHidden">Gradient of the first hidden state, [batch, hidden].</param>
/// <param name="InitialCell">Gradient of the first cell state; null without one.</param>
internal sealed record RecurrentGateGradients(Value Input, IReadOnlyList<(Value Gradient, int Gates, Value Operand)> Hidden, Value InitialHidden, Value? InitialCell = null);
