using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// GELU becomes <c>ortqlora.Gelu</c>: as <c>Gelu</c>, or spelled out as <c>x * (1 + erf(x / sqrt(2))) / 2</c> or
/// <c>x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2</c>, the factors in any order.
/// </summary>
public sealed class GeluFusion : RewriteRule
{
    /// <summary>Exporters write the constants with six or more digits.</summary>
    private const double Tolerance = 1e-5;

    /// <inheritdoc/>
    public override IReadOnlyList<string> NativeOperators => ["Gelu", "GeluGrad"];

    /// <inheritdoc/>
    public override RewriteResult TryRewrite(Node node, long opset)
    {
        if (node.Is("Gelu"))
        {
            return Fuse(node, node.Inputs[0]!, node.GetString("approximate", "none"), opset);
        }

        if (!node.Is("Mul"))
        {
            return RewriteResult.NoMatch;
        }

        // The product has three factors: x, 1 + f(x) and a half, two of them perhaps multiplied before.
        (List<Value> factors, double number) = Factors(node.Outputs[0], depth: 2);
        if (factors is not [var first, var second] || !IsNear(number, 0.5))
        {
            return RewriteResult.NoMatch;
        }

        foreach ((Value x, Value sum) in new[] { (first, second), (second, first) })
        {
            if (PatternParts.WithNumber(sum, "Add") is { Number: 1 } shifted && Approximation(shifted.Operand, x) is { } approximate)
            {
                return Fuse(node, x, approximate, opset);
            }
        }

        return RewriteResult.NoMatch;
    }

    private static RewriteResult Fuse(Node node, Value x, string approximate, long opset)
    {
        if (x.ElementType != DataType.Float || node.Outputs[0].IsGraphOutput)
        {
            return RewriteResult.Failed("x is not float, or the result a graph output", x);
        }

        Node fused = PatternParts.EmitNative(node, opset, "Gelu", [x], 1, ("approximate", approximate));
        return PatternParts.Replace(node.Outputs[0], fused.Outputs[0]);
    }

    /// <summary>Factors of a product of products and the product of those that are constant.</summary>
    private static (List<Value> Factors, double Number) Factors(Value value, int depth)
    {
        if (ConstantContent.Number(value) is double constant)
        {
            return ([], constant);
        }

        if (PatternParts.Divided(value) is { } quotient)
        {
            (List<Value> factors, double number) = Factors(quotient.Operand, depth);
            return (factors, number / quotient.Number);
        }

        if (depth == 0 || PatternParts.Made(value, "Mul") is not { } product || product.Inputs is not [{ } left, { } right])
        {
            return ([value], 1);
        }

        (List<Value> lefts, double leftNumber) = Factors(left, depth - 1);
        (List<Value> rights, double rightNumber) = Factors(right, depth - 1);
        return ([.. lefts, .. rights], leftNumber * rightNumber);
    }

    private static string? Approximation(Value value, Value x) =>
        PatternParts.Made(value, "Erf") is { } erf && PatternParts.Unscaled(erf.Inputs[0]!) is var (inner, factor) && inner == x && IsNear(factor, Math.Sqrt(0.5)) ? "none"
        : PatternParts.Made(value, "Tanh") is { } tanh && IsAngle(tanh.Inputs[0]!, x) ? "tanh"
        : null;

    // sqrt(2 / pi) * (x + 0.044715 * x^3)
    private static bool IsAngle(Value value, Value x)
    {
        (Value sum, double factor) = PatternParts.Unscaled(value);
        return IsNear(factor, Math.Sqrt(2 / Math.PI)) && PatternParts.Made(sum, "Add") is { } add
            && PatternParts.Orders(add).Any(o => o.First == x && PatternParts.Unscaled(o.Second) is var (cube, weight) && IsNear(weight, 0.044715) && IsCube(cube, x));
    }

    private static bool IsCube(Value value, Value x) =>
        PatternParts.Made(value, "Pow") is { } power ? power.Inputs[0] == x && ConstantContent.Number(power.InputOrNull(1)) == 3
        : PatternParts.Made(value, "Mul") is { } product && PatternParts.Orders(product).Any(o => o.First == x && PatternParts.Squared(o.Second) == x);

    private static bool IsNear(double actual, double expected) => Math.Abs(actual - expected) <= Tolerance * Math.Abs(expected);
}
