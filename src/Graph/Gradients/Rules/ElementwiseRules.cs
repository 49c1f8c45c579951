using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Gradients.Rules.RuleForms;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Rules of arithmetic and of elementary functions. x, a, b are inputs, y the output, dy its gradient.</summary>
internal static class ElementwiseRules
{
    public static void Register(GradientRuleRegistry rules)
    {
        // y = a + b: da = dy, db = dy
        rules.Add("Add", c => [c.OutputGradient, c.OutputGradient]);

        // y = a - b: da = dy, db = -dy (negated after it is summed down)
        rules.Add("Sub", c => [c.OutputGradient, c.NeedsGradient(1) ? c.Builder.Neg(c.SumTo(c.OutputGradient, c.Input(1))) : null]);
        rules.Add("Mul", Mul);
        rules.Add("Div", Div);
        rules.Add("Pow", PowGradient.Build);

        // y = sum_i x_i: dx_i = dy
        rules.Add("Sum", c => c.ForEachNeeded(_ => c.OutputGradient));

        // y = sum_i x_i / n: dx_i = dy / n
        rules.Add("Mean", c =>
        {
            Value share = c.Builder.Mul(c.OutputGradient, 1.0 / c.Node.Inputs.Count);
            return c.ForEachNeeded(_ => share);
        });

        // y = a - b * n with a whole n = (a - y) / b: da = dy, db = -dy * n
        rules.Add("Mod", c => [c.OutputGradient, c.NeedsGradient(1) ? ModDivisor(c) : null]);

        // y = -x: dx = -dy
        rules.Add("Neg", c => [c.Builder.Neg(c.OutputGradient)]);

        // y = |x|: dx = dy * sign(x), 0 at 0
        rules.Add("Abs", Pointwise((b, dy, x, y) => b.Mul(dy, b.Unary("Sign", x))));

        // y = sqrt(x): dx = dy / (2 y)
        rules.Add("Sqrt", Pointwise((b, dy, x, y) => b.Div(b.Mul(dy, 0.5), y)));

        // y = 1 / x: dx = -dy * y^2
        rules.Add("Reciprocal", Pointwise((b, dy, x, y) => b.Neg(b.Mul(b.Mul(dy, y), y))));

        // y = exp(x): dx = dy * y
        rules.Add("Exp", Pointwise((b, dy, x, y) => b.Mul(dy, y)));

        // y = ln(x): dx = dy / x
        rules.Add("Log", Pointwise((b, dy, x, y) => b.Div(dy, x)));

        // y = sin(x): dx = dy * cos(x); y = cos(x): dx = -dy * sin(x); y = tan(x): dx = dy * (1 + y^2)
        rules.Add("Sin", Pointwise((b, dy, x, y) => b.Mul(dy, b.Unary("Cos", x))));
        rules.Add("Cos", Pointwise((b, dy, x, y) => b.Neg(b.Mul(dy, b.Unary("Sin", x)))));
        rules.Add("Tan", Pointwise((b, dy, x, y) => b.Mul(dy, b.Add(b.Square(y), 1))));

        // y = asin(x): dx = dy / sqrt(1 - x^2); acos: the negative; atan: dx = dy / (1 + x^2)
        rules.Add("Asin", Pointwise((b, dy, x, y) => b.Div(dy, b.Unary("Sqrt", b.Sub(1, b.Square(x))))));
        rules.Add("Acos", Pointwise((b, dy, x, y) => b.Neg(b.Div(dy, b.Unary("Sqrt", b.Sub(1, b.Square(x)))))));
        rules.Add("Atan", Pointwise((b, dy, x, y) => b.Div(dy, b.Add(b.Square(x), 1))));

        // y = sinh(x): dx = dy * cosh(x); y = cosh(x): dx = dy * sinh(x); y = tanh(x): dx = dy * (1 - y^2) = dy - dy * y * y
        rules.Add("Sinh", Pointwise((b, dy, x, y) => b.Mul(dy, b.Unary("Cosh", x))));
        rules.Add("Cosh", Pointwise((b, dy, x, y) => b.Mul(dy, b.Unary("Sinh", x))));
        rules.Add("Tanh", Pointwise((b, dy, x, y) => b.Mul(dy, b.Sub(1, b.Square(y)))));

        // y = asinh(x): dx = dy / sqrt(x^2 + 1); acosh: dy / sqrt(x^2 - 1); atanh: dy / (1 - x^2)
        rules.Add("Asinh", Pointwise((b, dy, x, y) => b.Div(dy, b.Unary("Sqrt", b.Add(b.Square(x), 1)))));
        rules.Add("Acosh", Pointwise((b, dy, x, y) => b.Div(dy, b.Unary("Sqrt", b.Add(b.Square(x), -1)))));
        rules.Add("Atanh", Pointwise((b, dy, x, y) => b.Div(dy, b.Sub(1, b.Square(x)))));

        // y = erf(x): dx = dy * 2/sqrt(pi) * exp(-x^2) = dy * exp(ln(2/sqrt(pi)) - x^2), which saves one pass
        rules.Add("Erf", Pointwise((b, dy, x, y) => b.Mul(dy, b.Unary("Exp", b.Sub(Math.Log(2 / Math.Sqrt(Math.PI)), b.Square(x))))));
    }

    // y = a * b: da = dy * b, db = dy * a; for a square, y = a * a: da = 2 * dy * a, all of it through the first input
    private static IReadOnlyList<Value?> Mul(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        if (c.Input(0) == c.Input(1))
        {
            return [b.Mul(b.Mul(c.BroadcastableOutputGradient, 2), c.Input(0)), null];
        }

        return [Times(c, 0, c.Input(1)), Times(c, 1, c.Input(0))];
    }

    private static Value? Times(GradientContext c, int index, Value factor) =>
        c.NeedsGradient(index) ? c.Builder.Mul(c.GradientToCombineWith(factor), factor) : null;

    // y = a / b: da = dy / b, db = -dy * a / b^2 = -(dy / b) * y
    private static IReadOnlyList<Value?> Div(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value divisor = c.Input(1);
        Value quotient = b.Div(c.GradientToCombineWith(divisor), divisor);
        return
        [
            quotient,
            c.NeedsGradient(1) ? b.Neg(c.SumTo(b.Mul(quotient, c.Output(0)), divisor)) : null,
        ];
    }

    private static Value ModDivisor(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value whole = b.Unary("Round", b.Div(b.Sub(c.Input(0), c.Output(0)), c.Input(1)));
        return b.Neg(c.SumTo(b.Mul(c.OutputGradient, whole), c.Input(1)));
    }
}
