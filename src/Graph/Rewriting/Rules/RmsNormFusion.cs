using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// RMS normalization over the last axis becomes <c>ortqlora.RmsNorm</c>: as <c>RMSNormalization</c> or
/// <c>SimplifiedLayerNormalization</c>, or spelled out as <c>x / sqrt(mean(x^2) + epsilon) * weight</c>.
/// </summary>
public sealed class RmsNormFusion : RewriteRule
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> NativeOperators => ["RmsNorm", "RmsNormGrad"];

    /// <inheritdoc/>
    public override RewriteResult TryRewrite(Node node, long opset)
    {
        if (IsOperator(node))
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
                return Fuse(node, match.X, weight, match.Epsilon, opset);
            }
        }

        return RewriteResult.NoMatch;
    }

    private static bool IsOperator(Node node) =>
        node.Is("RMSNormalization") || node.Is("SimplifiedLayerNormalization") || node.Is("SimplifiedLayerNormalization", OperatorDomains.Microsoft);

    private static RewriteResult FuseOperator(Node node, long opset)
    {
        if (node.InputOrNull(0) is not { Shape: { Rank: > 0 } shape } x || node.InputOrNull(1) is not { } weight)
        {
            return RewriteResult.Failed("the rank of x is not known", node.InputOrNull(0));
        }

        long axis = node.GetInt("axis", -1);
        return axis != -1 && axis != shape.Rank - 1 ? RewriteResult.Failed($"it normalises over more than the last axis (axis {axis})", x)
            : !PatternParts.IsRow(weight, x) ? RewriteResult.Failed("the weight is no float vector of the last axis", weight)
            : node.Outputs.Skip(1).Any(o => o.IsUsed) ? RewriteResult.Failed("its statistics are read", node.Outputs[1])
            : Fuse(node, x, weight, node.GetFloat("epsilon", 1e-5f), opset);
    }

    private static RewriteResult Fuse(Node node, Value x, Value weight, double epsilon, long opset)
    {
        if (x.ElementType != DataType.Float || node.Outputs[0].IsGraphOutput || !(epsilon >= 0))
        {
            return RewriteResult.Failed("x is not float, the result a graph output, or epsilon negative", x);
        }

        Node fused = PatternParts.EmitNative(node, opset, "RmsNorm", [x, weight], 2, ("epsilon", (float)epsilon));
        return PatternParts.Replace(node.Outputs[0], fused.Outputs[0]);
    }

    /// <summary>x and epsilon of x / sqrt(mean(x^2) + epsilon).</summary>
    private static (Value X, double Epsilon)? Normalized(Value value)
    {
        if (PatternParts.Made(value, "Div") is { } quotient)
        {
            return MeanSquare(RootOf(quotient.InputOrNull(1)), quotient.Inputs[0]!);
        }

        if (PatternParts.Made(value, "Mul") is { } product)
        {
            foreach ((Value x, Value inverse) in PatternParts.Orders(product))
            {
                if (MeanSquare(InverseRootOf(inverse), x) is { } match)
                {
                    return match;
                }
            }
        }

        return null;
    }

    private static Value? RootOf(Value? value) => PatternParts.Made(value, "Sqrt")?.Inputs[0];

    private static Value? InverseRootOf(Value value) =>
        PatternParts.Made(value, "Reciprocal") is { } reciprocal ? RootOf(reciprocal.Inputs[0])
        : PatternParts.Made(value, "Div") is { } quotient && ConstantContent.Number(quotient.InputOrNull(0)) == 1 ? RootOf(quotient.InputOrNull(1))
        : PatternParts.Made(value, "Pow") is { } power && ConstantContent.Number(power.InputOrNull(1)) == -0.5 ? power.Inputs[0]
        : null;

    private static (Value X, double Epsilon)? MeanSquare(Value? radicand, Value x) =>
        PatternParts.WithNumber(radicand, "Add") is { } sum && PatternParts.Squared(PatternParts.MeanedOverLastAxis(sum.Operand)) == x
            ? (x, sum.Number)
            : null;
}
