using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// i, o, f = sigmoid, g = tanh of the sums; c' = f * c + i * g, h = o * tanh(c'). Backwards, with dh and dc of all later use: dc' = dc +
/// dh * o * (1 - tanh(c')^2), and of the sums i: dc' * g * i(1 - i), o: dh * tanh(c') * o(1 - o), f: dc' * c * f(1 - f), g: dc' * i * (1 - g^2).
/// </summary>
internal sealed class LstmCell : RecurrentCell
{
    /// <inheritdoc/>
    public override int Gates => 4;

    /// <inheritdoc/>
    public override bool HasCellState => true;

    /// <inheritdoc/>
    public override string[] DefaultActivations => ["Sigmoid", "Tanh", "Tanh"];

    /// <inheritdoc/>
    public override RecurrentGateGradients Differentiate(RecurrentPass pass)
    {
        GraphBuilder b = pass.Builder;
        Value sums = pass.Plus(b.Add(pass.InputSums, pass.Project(pass.PreviousStates, pass.HiddenWeight, pass.HiddenBias)), pass.InputBias);
        IReadOnlyList<Value> gates = pass.Split(sums, Gates);
        Value input = b.Op("Sigmoid", [gates[0]]);
        Value output = b.Op("Sigmoid", [gates[1]]);
        Value forget = b.Op("Sigmoid", [gates[2]]);
        Value candidate = b.Op("Tanh", [gates[3]]);

        IReadOnlyList<Value> scanned = pass.Scan(
            [pass.InitialCell!], [forget, b.Mul(input, candidate)], isReversed: false, outputs: 2,
            (s, v) =>
            {
                Value cell = s.Add(s.Mul(v[1], v[0]), v[2]);
                return [cell, s.Op("Identity", [v[0]]), s.Op("Identity", [cell])];
            });
        (Value previousCells, Value tanh) = (scanned[1], b.Op("Tanh", [scanned[2]]));

        // Everything that is known before the backward pass begins: factors of dh and dc in each step.
        Value cellOfHidden = b.Mul(output, pass.TanhSlope(tanh));
        Value ofInput = b.Mul(candidate, pass.SigmoidSlope(input));
        Value ofOutput = b.Mul(tanh, pass.SigmoidSlope(output));
        Value ofForget = b.Mul(previousCells, pass.SigmoidSlope(forget));
        Value ofCandidate = b.Mul(input, pass.TanhSlope(candidate));
        IReadOnlyList<Value> back = pass.Scan(
            [pass.LastHiddenGradient, pass.LastCellGradient!, pass.HiddenWeight],
            [pass.StateGradients, cellOfHidden, ofInput, ofOutput, ofForget, ofCandidate, forget], isReversed: true, outputs: 1,
            (s, v) =>
            {
                Value hidden = s.Add(v[0], v[3]);
                Value cell = s.Add(v[1], s.Mul(hidden, v[4]));
                Value all = s.Concat(-1, s.Mul(cell, v[5]), s.Mul(hidden, v[6]), s.Mul(cell, v[7]), s.Mul(cell, v[8]));
                return [s.MatMul(all, v[2]), s.Mul(cell, v[9]), v[2], all];
            });
        return new(back[3], [(back[3], Gates, pass.PreviousStates)], back[0], back[1]);
    }
}
