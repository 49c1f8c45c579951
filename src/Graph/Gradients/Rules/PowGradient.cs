using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>y = x^p: dx = dy * p * x^(p-1), dp = dy * y * ln(x).</summary>
internal static class PowGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c) =>
    [
        c.NeedsGradient(0) ? BaseGradient(c) : null,
        c.NeedsGradient(1) ? ExponentGradient(c) : null,
    ];

    // Common exponents without a power function, which costs tens of multiplications.
    private static Value? BaseGradient(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        bool scalarExponent = c.Input(1).Shape is { } shape && shape.All(d => d.Value == 1) && shape.Rank <= c.Rank(x);
        if (!scalarExponent || c.ConstantNumber(1) is not { } p)
        {
            return GeneralBaseGradient(c);
        }

        Value Scaled(double factor) => b.Mul(c.BroadcastableOutputGradient, factor);
        return p switch
        {
            0 => null,
            1 => c.OutputGradient,
            2 => b.Mul(Scaled(2), x),
            3 => b.Mul(Scaled(3), b.Square(x)),
            0.5 => b.Div(Scaled(0.5), c.Output(0)),
            -0.5 => b.Div(b.Mul(Scaled(-0.5), c.Output(0)), x),
            -1 => b.Mul(b.Mul(Scaled(-1), c.Output(0)), c.Output(0)),
            _ => b.Mul(Scaled(p), b.Op("Pow", [x, b.ScalarLike(x, p - 1)])),
        };
    }

    // As PyTorch: zero where the exponent is zero, so that 0 * 0^-1 does not become NaN.
    private static Value GeneralBaseGradient(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        Value p = b.Cast(c.Input(1), x.ElementType);
        Value power = b.Mul(p, b.Op("Pow", [x, b.Add(p, -1)]));
        Value isZero = b.Compare("Equal", p, b.ScalarLike(p, 0));
        return b.Mul(c.OutputGradient, b.DropWhere(isZero, power));
    }

    // As PyTorch: zero at x = 0 for p >= 0, where y * ln(x) = 0 * -inf. The product is rounded to the exponent's type last.
    private static Value ExponentGradient(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        Value p = c.Input(1);
        Value flat = b.Op("And", [
            b.Compare("Equal", x, b.ScalarLike(x, 0)),
            b.Compare("GreaterOrEqual", p, b.ScalarLike(p, 0))]);
        Value gradient = b.Mul(c.OutputGradient, b.DropWhere(flat, b.Mul(c.Output(0), b.Unary("Log", x))));
        return b.Cast(c.SumTo(gradient, p), p.ElementType);
    }
}
