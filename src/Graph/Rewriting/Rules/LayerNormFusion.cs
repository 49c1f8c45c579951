using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// Layer normalization over the last axis becomes <c>ortqlora.LayerNorm</c>: as <c>LayerNormalization</c>, or spelled out as
/// <c>d / sqrt(mean(d^2) + epsilon) * weight + bias</c> with <c>d = x - mean(x)</c>.
/// </summary>
public sealed class LayerNormFusion : RewriteRule
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> NativeOperators => ["LayerNorm", "LayerNormGrad"];

    /// <inheritdoc/>
    public override RewriteResult TryRewrite(Node node, long opset)
    {
        if (node.Is("LayerNormalization"))
        {
            return FuseOperator(node, opset);
        }

        if (!node.Is("Mul"))
        {
            return RewriteResult.NoMatch;
        }

        foreach ((Value normalized, Value weight) in PatternParts.Orders(node))
        {
            if (Normalized(normalized) is { } match && PatternParts.IsRow(weight, match.X))
            {
                (Value? bias, Value result) = BiasBehind(node.Outputs[0], match.X);
                return Fuse(node, match.X, weight, bias, result, match.Epsilon, opset);
            }
        }

        return RewriteResult.NoMatch;
    }

    private static RewriteResult FuseOperator(Node node, long opset)
    {
        if (node.InputOrNull(0) is not { Shape: { Rank: > 0 } shape } x || node.InputOrNull(1) is not { } weight)
        {
            return RewriteResult.Failed("the rank of x is not known", node.InputOrNull(0));
        }

        Value? bias = node.InputOrNull(2);
        long axis = node.GetInt("axis", -1);
        return axis != -1 && axis != shape.Rank - 1 ? RewriteResult.Failed($"it normalises over more than the last axis (axis {axis})", x)
            : !PatternParts.IsRow(weight, x) || (bias is not null && !PatternParts.IsRow(bias, x)) ? RewriteResult.Failed("weight or bias is no float vector of the last axis", weight)
            : node.Outputs.Skip(1).Any(o => o.IsUsed) ? RewriteResult.Failed("its statistics are read", node.Outputs[1])
            : Fuse(node, x, weight, bias, node.Outputs[0], node.GetFloat("epsilon", 1e-5f), opset);
    }

    private static RewriteResult Fuse(Node node, Value x, Value weight, Value? bias, Value result, double epsilon, long opset)
    {
        if (x.ElementType != DataType.Float || result.IsGraphOutput || !(epsilon >= 0))
        {
            return RewriteResult.Failed("x is not float, the result a graph output, or epsilon negative", x);
        }

        Node fused = PatternParts.EmitNative(node, opset, "LayerNorm", bias is null ? [x, weight] : [x, weight, bias], 3, ("epsilon", (float)epsilon));
        return PatternParts.Replace(result, fused.Outputs[0]);
    }

    /// <summary>x and epsilon of d / sqrt(mean(d^2) + epsilon).</summary>
    private static (Value X, double Epsilon)? Normalized(Value value) =>
        PatternParts.Made(value, "Div") is { } quotient
        && PatternParts.Made(quotient.Inputs[0], "Sub") is { } centred && centred.Inputs[0] is { } x
        && PatternParts.MeanedOverLastAxis(centred.InputOrNull(1)) == x
        && PatternParts.Made(quotient.InputOrNull(1), "Sqrt") is { } root
        && PatternParts.WithNumber(root.Inputs[0], "Add") is { } sum
        && PatternParts.Squared(PatternParts.MeanedOverLastAxis(sum.Operand)) == centred.Outputs[0]
            ? (x, sum.Number)
            : null;

    private static (Value? Bias, Value Result) BiasBehind(Value scaled, Value x)
    {
        // The bias must be there where the product is: a parameter or a constant.
        bool isAdded = !scaled.IsGraphOutput && scaled.Uses is [var use] && use.Node.Is("Add")
            && use.Node.InputOrNull(1 - use.Index) is { Producer: null } addend && PatternParts.IsRow(addend, x);
        return isAdded ? (scaled.Uses[0].Node.Inputs[1 - scaled.Uses[0].Index], scaled.Uses[0].Node.Outputs[0]) : (null, scaled);
    }
}
