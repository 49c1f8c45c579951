using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>h' = f(x W + h R + b), f = tanh or the rectifier, whose slopes h' gives.</summary>
internal sealed class RnnCell : RecurrentCell
{
    /// <inheritdoc/>
    public override int Gates => 1;

    /// <inheritdoc/>
    public override string[] DefaultActivations => ["Tanh"];

    /// <inheritdoc/>
    public override bool Supports(string[] activations) => activations is ["Tanh"] or ["Relu"];

    /// <inheritdoc/>
    public override RecurrentGateGradients Differentiate(RecurrentPass pass)
    {
        GraphBuilder b = pass.Builder;
        Value slope = pass.Activations is ["Relu"]
            ? b.Cast(b.Op("Greater", [pass.States, b.ScalarLike(pass.States, 0)]), pass.States.ElementType)
            : pass.TanhSlope(pass.States);
        IReadOnlyList<Value> back = pass.Scan([pass.LastHiddenGradient, pass.HiddenWeight], [pass.StateGradients, slope], isReversed: true, outputs: 1, (s, v) =>
        {
            Value sum = s.Mul(s.Add(v[0], v[2]), v[3]);
            return [s.MatMul(sum, v[1]), v[1], sum];
        });
        return new(back[2], [(back[2], Gates, pass.PreviousStates)], back[0]);
    }
}
