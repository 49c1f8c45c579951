using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// <c>silu(gate) * up</c> becomes <c>ortqlora.SwiGlu</c>; silu is <c>gate * Sigmoid(gate)</c> or <c>Swish</c>.
/// </summary>
public sealed class SwiGluFusion : RewriteRule
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> NativeOperators => ["SwiGlu", "SwiGluGrad"];

    /// <inheritdoc/>
    public override RewriteResult TryRewrite(Node node, long opset)
    {
        if (!node.Is("Mul"))
        {
            return RewriteResult.NoMatch;
        }

        foreach ((Value activated, Value up) in PatternParts.Orders(node))
        {
            if (Gate(activated) is not { } gate)
            {
                continue;
            }

            if (gate.ElementType != DataType.Float || node.Outputs[0].IsGraphOutput)
            {
                return RewriteResult.Failed("the gate is not float, or the result a graph output", gate);
            }

            if (gate.Shape is not { } shape || !shape.IsSameAs(up.Shape))
            {
                return RewriteResult.Failed("gate and up are not known to have one shape", up);
            }

            Node fused = PatternParts.EmitNative(node, opset, "SwiGlu", [gate, up], 1);
            return PatternParts.Replace(node.Outputs[0], fused.Outputs[0]);
        }

        return RewriteResult.NoMatch;
    }

    private static Value? Gate(Value activated)
    {
        if (PatternParts.Made(activated, "Swish") is { } swish)
        {
            return swish.GetFloat("alpha", 1) == 1 ? swish.Inputs[0] : null;
        }

        return PatternParts.Made(activated, "Mul") is { } product
            ? PatternParts.Orders(product).FirstOrDefault(o => PatternParts.Made(o.Second, "Sigmoid")?.Inputs[0] == o.First).First
            : null;
    }
}
