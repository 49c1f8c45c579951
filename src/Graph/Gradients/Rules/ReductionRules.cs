using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// Rules of reductions, with axes as attribute or input, kept or not. Sums run over the reduced axes; y and dy stand for the
/// output and its gradient with those axes brought back as 1.
/// </summary>
internal static class ReductionRules
{
    public static void Register(GradientRuleRegistry rules)
    {
        // y = sum x: dx = dy
        rules.Add("ReduceSum", c => c.Gradients(c.ExpandLike(new Reduction(c).Restore(c.OutputGradient), c.Input(0))));

        // y = sum x / n: dx = dy / n
        rules.Add("ReduceMean", Mean);

        // y = max x or min x: dx = dy / (number of elements equal to y) where x = y; ties share equally, as PyTorch's amax
        rules.Add("ReduceMax", Extremum);
        rules.Add("ReduceMin", Extremum);

        // y = sum |x|: dx = dy * sign(x)
        rules.Add("ReduceL1", c => Scaled(c, (b, dy, x, y) => b.Mul(b.Unary("Sign", x), dy)));

        // y = sqrt(sum x^2): dx = x * dy / y, 0 where y = 0
        rules.Add("ReduceL2", c => Scaled(c, (b, dy, x, y) =>
            b.Mul(x, b.DropWhere(b.Compare("Equal", y, b.ScalarLike(y, 0)), b.Div(dy, y)))));

        // y = sum x^2: dx = 2 * dy * x
        rules.Add("ReduceSumSquare", c => Scaled(c, (b, dy, x, y) => b.Mul(x, b.Mul(dy, 2))));

        // y = ln(sum x): dx = dy / exp(y)
        rules.Add("ReduceLogSum", c =>
        {
            Reduction reduction = new(c);
            Value small = c.Builder.Div(c.OutputGradient, c.Builder.Unary("Exp", c.Output(0)));
            return c.Gradients(c.ExpandLike(reduction.Restore(small), c.Input(0)));
        });

        // y = ln(sum exp x): dx = dy * exp(x - y)
        rules.Add("ReduceLogSumExp", c => Scaled(c, (b, dy, x, y) => b.Mul(b.Unary("Exp", b.Sub(x, y)), dy)));
        rules.Add("ReduceProd", Product);

        // y_i = sum of x_j, j <= i: dx_j = sum of dy_i, i >= j
        rules.Add("CumSum", c => c.Gradients(c.Builder.Op(
            "CumSum", [c.OutputGradient, c.Input(1)],
            ("exclusive", c.Node.GetInt("exclusive", 0)), ("reverse", 1 - c.Node.GetInt("reverse", 0)))));
    }

    private static IReadOnlyList<Value?> Mean(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Reduction reduction = new(c);
        Value share = reduction.StaticCount is { } count ? b.Mul(c.OutputGradient, 1 / count) : b.Div(c.OutputGradient, reduction.CountValue());
        return c.Gradients(c.ExpandLike(reduction.Restore(share), c.Input(0)));
    }

    private static IReadOnlyList<Value?> Extremum(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Reduction reduction = new(c);
        Value x = c.Input(0);
        Value chosen = b.Cast(b.Compare("Equal", x, reduction.Restore(c.Output(0))), x.ElementType);
        return c.Gradients(b.Mul(chosen, b.Div(reduction.Restore(c.OutputGradient), reduction.Sum(chosen))));
    }

    // y = product of x: dx = dy * (product of the others). With a zero among them that is not y / x: it is the product of
    // the rest at a single zero, and zero everywhere else; with two zeros it is zero everywhere.
    private static IReadOnlyList<Value?> Product(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Reduction reduction = new(c);
        Value x = c.Input(0);
        Value zero = b.ScalarLike(x, 0);
        Value isZero = b.Compare("Equal", x, zero);
        Value nonZero = b.Where(isZero, b.ScalarLike(x, 1), x);
        Value product = reduction.Product(nonZero);
        Value zeros = reduction.Sum(b.Cast(isZero, x.ElementType));
        Value dy = b.Mul(reduction.Restore(c.OutputGradient), product);
        Value atZeros = b.KeepWhere(b.Compare("Equal", zeros, b.ScalarLike(x, 1)), dy);
        Value elsewhere = b.KeepWhere(b.Compare("Equal", zeros, zero), dy);
        return c.Gradients(b.Where(isZero, atZeros, b.Div(elsewhere, nonZero)));
    }

    private static IReadOnlyList<Value?> Scaled(GradientContext c, Func<GraphBuilder, Value, Value, Value, Value> derive)
    {
        Reduction reduction = new(c);
        return c.Gradients(derive(c.Builder, reduction.Restore(c.OutputGradient), c.Input(0), reduction.Restore(c.Output(0))));
    }
}
