using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// z, r = sigmoid of the sums, n = tanh(x Wn + r * (h Rn + b)) with linear_before_reset, tanh(x Wn + (r * h) Rn + b) without; h' = (1 - z) * n + z * h.
/// Backwards, with dh' of all later use: of the sums z: dh' * (h - n) * z(1 - z), n: dh' * (1 - z) * (1 - n^2), and through r from the latter.
/// </summary>
internal sealed class GruCell : RecurrentCell
{
    /// <inheritdoc/>
    public override int Gates => 3;

    /// <inheritdoc/>
    public override string[] DefaultActivations => ["Sigmoid", "Tanh"];

    /// <inheritdoc/>
    public override RecurrentGateGradients Differentiate(RecurrentPass pass)
    {
        GraphBuilder b = pass.Builder;
        Value previous = pass.PreviousStates;
        IReadOnlyList<Value> fromInput = pass.Split(pass.Plus(pass.InputSums, pass.InputBias), Gates);
        Value Weight(int first, int gates) => pass.Rows(pass.HiddenWeight, first, gates);
        Value? Bias(int first, int gates) => pass.HiddenBias is null ? null : pass.Rows(pass.HiddenBias, first, gates);
        IReadOnlyList<Value> fromHidden = pass.Split(pass.Project(previous, Weight(0, 2), Bias(0, 2)), 2);
        Value update = b.Op("Sigmoid", [b.Add(fromInput[0], fromHidden[0])]);
        Value reset = b.Op("Sigmoid", [b.Add(fromInput[1], fromHidden[1])]);
        bool resetsSum = pass.Node.GetInt("linear_before_reset", 0) != 0;
        Value operand = resetsSum ? pass.Project(previous, Weight(2, 1), Bias(2, 1)) : b.Mul(reset, previous);
        Value candidate = b.Op("Tanh", [b.Add(fromInput[2], resetsSum ? b.Mul(reset, operand) : pass.Project(operand, Weight(2, 1), Bias(2, 1)))]);

        Value ofUpdate = b.Mul(b.Sub(previous, candidate), pass.SigmoidSlope(update));
        Value ofCandidate = b.Mul(pass.OneMinus(update), pass.TanhSlope(candidate));
        Value ofReset = b.Mul(resetsSum ? operand : previous, pass.SigmoidSlope(reset));
        return resetsSum
            ? ResetSum(pass, [pass.StateGradients, update, reset, ofUpdate, ofCandidate, ofReset])
            : ResetState(pass, [pass.StateGradients, update, reset, ofUpdate, ofCandidate, ofReset], Weight(0, 2), Weight(2, 1), operand);
    }

    private static RecurrentGateGradients ResetSum(RecurrentPass pass, Value[] steps)
    {
        IReadOnlyList<Value> back = pass.Scan([pass.LastHiddenGradient, pass.HiddenWeight], steps, isReversed: true, outputs: 2, (s, v) =>
        {
            Value hidden = s.Add(v[0], v[2]);
            Value update = s.Mul(hidden, v[5]);
            Value candidate = s.Mul(hidden, v[6]);
            Value reset = s.Mul(candidate, v[7]);
            Value ofHidden = s.Concat(-1, update, reset, s.Mul(candidate, v[4]));
            return [s.Add(s.Mul(hidden, v[3]), s.MatMul(ofHidden, v[1])), v[1], s.Concat(-1, update, reset, candidate), ofHidden];
        });
        return new(back[2], [(back[3], 3, pass.PreviousStates)], back[0]);
    }

    private static RecurrentGateGradients ResetState(RecurrentPass pass, Value[] steps, Value gateWeight, Value candidateWeight, Value operand)
    {
        IReadOnlyList<Value> back = pass.Scan([pass.LastHiddenGradient, gateWeight, candidateWeight], steps, isReversed: true, outputs: 3, (s, v) =>
        {
            Value hidden = s.Add(v[0], v[3]);
            Value candidate = s.Mul(hidden, v[7]);
            Value kept = s.MatMul(candidate, v[2]);
            Value gates = s.Concat(-1, s.Mul(hidden, v[6]), s.Mul(kept, v[8]));
            Value before = s.Add(s.Add(s.Mul(hidden, v[4]), s.MatMul(gates, v[1])), s.Mul(kept, v[5]));
            return [before, v[1], v[2], s.Concat(-1, gates, candidate), gates, candidate];
        });
        return new(back[3], [(back[4], 2, pass.PreviousStates), (back[5], 1, operand)], back[0]);
    }
}
