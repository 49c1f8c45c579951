using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Gradients.Rules.RuleForms;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Rules of activation functions. At kinks they follow PyTorch. x is the input, y the output, dy its gradient.</summary>
internal static class ActivationRules
{
    // 1 / sqrt(2), and ln(1 / sqrt(2 pi)): the normal density is exp(lnDensity - x^2 / 2)
    private const double InverseSqrt2 = 0.70710678118654752440;
    private const double LogDensityAtZero = -0.91893853320467274178;

    // Constants of Selu in ONNX's specification.
    private const float SeluAlpha = 1.67326319217681884765625f;
    private const float SeluGamma = 1.05070102214813232421875f;

    public static void Register(GradientRuleRegistry rules)
    {
        // y = 1 / (1 + exp(-x)): dx = dy * y * (1 - y)
        rules.Add("Sigmoid", Pointwise((b, dy, x, y) => b.Mul(b.Mul(dy, y), b.Sub(1, y))));

        // y = max(x, 0): dx = dy where y > 0
        rules.Add("Relu", c => c.Gradients(c.Builder.KeepWhere(IsPositive(c.Builder, c.Output(0)), c.OutputGradient)));

        // y = x > 0 ? x : alpha * x: dx = dy * (x > 0 ? 1 : alpha)
        rules.Add("LeakyRelu", c => Slope(c, b => b.ScalarLike(c.Input(0), c.Node.GetFloat("alpha", 0.01f))));

        // y = x > 0 ? x : slope * x: dx = dy * (x > 0 ? 1 : slope), dslope = dy * (x > 0 ? 0 : x)
        rules.Add("PRelu", PRelu);

        // y = x > alpha ? x : 0: dx = dy where x > alpha
        rules.Add("ThresholdedRelu", c => c.Gradients(c.Builder.KeepWhere(
            c.Builder.Compare("Greater", c.Input(0), c.Builder.ScalarLike(c.Input(0), c.Node.GetFloat("alpha", 1))), c.OutputGradient)));

        // y = x > 0 ? x : alpha * (exp(x) - 1): dx = dy * (x > 0 ? 1 : y + alpha)
        rules.Add("Elu", c => Slope(c, b => b.Add(c.Output(0), c.Node.GetFloat("alpha", 1))));

        // y = gamma * (x > 0 ? x : alpha * (exp(x) - 1)): dx = dy * (x > 0 ? gamma : y + gamma * alpha)
        rules.Add("Selu", c =>
        {
            float gamma = c.Node.GetFloat("gamma", SeluGamma);
            float alpha = c.Node.GetFloat("alpha", SeluAlpha);
            return Slope(c, b => b.Add(c.Output(0), (double)gamma * alpha), gamma);
        });

        // y = x > 0 ? x : alpha * (exp(x / alpha) - 1): dx = dy * (x > 0 ? 1 : exp(x / alpha) = y / alpha + 1)
        rules.Add("Celu", c => Slope(c, b => b.Add(b.Mul(c.Output(0), 1.0 / c.Node.GetFloat("alpha", 1)), 1)));

        // y = clip(alpha * x + beta, 0, 1): dx = dy * alpha where 0 < y < 1
        rules.Add("HardSigmoid", c =>
        {
            GraphBuilder b = c.Builder;
            Value y = c.Output(0);
            Value inside = b.Op("And", [IsPositive(b, y), b.Compare("Less", y, b.ScalarLike(y, 1))]);
            return c.Gradients(b.KeepWhere(inside, b.Mul(c.OutputGradient, c.Node.GetFloat("alpha", 0.2f))));
        });

        // y = x * clip(x / 6 + 1/2, 0, 1): dx = dy * (x <= -3 ? 0 : x < 3 ? x / 3 + 1/2 : 1)
        rules.Add("HardSwish", Pointwise((b, dy, x, y) =>
        {
            Value upper = b.Where(b.Compare("Less", x, b.ScalarLike(x, 3)), b.Add(b.Mul(x, 1.0 / 3), 0.5), b.ScalarLike(x, 1));
            return b.Mul(dy, b.KeepWhere(b.Compare("Greater", x, b.ScalarLike(x, -3)), upper));
        }));

        rules.Add("Gelu", Pointwise(Gelu));

        // y = ln(1 + exp(x)): dx = dy * sigmoid(x)
        rules.Add("Softplus", Pointwise((b, dy, x, y) => b.Mul(dy, b.Unary("Sigmoid", x))));

        // y = x / (1 + |x|): dx = dy / (1 + |x|)^2
        rules.Add("Softsign", Pointwise((b, dy, x, y) => b.Div(dy, b.Square(b.Add(b.Unary("Abs", x), 1)))));

        // y = x * t with t = tanh(softplus(x)): dx = dy * (t + x * (1 - t^2) * sigmoid(x))
        rules.Add("Mish", Pointwise((b, dy, x, y) =>
        {
            Value t = b.Unary("Tanh", b.Unary("Softplus", x));
            Value slope = b.Mul(b.Mul(x, b.Sub(1, b.Square(t))), b.Unary("Sigmoid", x));
            return b.Mul(dy, b.Add(t, slope));
        }));

        // y = x * s with s = sigmoid(alpha * x): dx = dy * (s + alpha * y * (1 - s))
        rules.Add("Swish", c =>
        {
            GraphBuilder b = c.Builder;
            float alpha = c.Node.GetFloat("alpha", 1);
            Value s = b.Unary("Sigmoid", b.Mul(c.Input(0), alpha));
            Value slope = b.Add(s, b.Mul(b.Mul(c.Output(0), alpha), b.Sub(1, s)));
            return [b.Mul(c.BroadcastableOutputGradient, slope)];
        });
    }

    /// <summary>dy * (x > 0 ? <paramref name="positive"/> : <paramref name="negative"/>), for activations bent at 0.</summary>
    private static IReadOnlyList<Value?> Slope(GradientContext c, Func<GraphBuilder, Value> negative, double positive = 1)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        return [b.Mul(c.BroadcastableOutputGradient, b.Where(IsPositive(b, x), b.ScalarLike(x, positive), negative(b)))];
    }

    private static IReadOnlyList<Value?> PRelu(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        Value positive = IsPositive(b, x);
        return
        [
            c.NeedsGradient(0) ? b.Mul(c.BroadcastableOutputGradient, b.Where(positive, b.ScalarLike(x, 1), c.Input(1))) : null,
            c.NeedsGradient(1) ? b.Mul(c.OutputGradient, b.DropWhere(positive, x)) : null,
        ];
    }

    private static Value IsPositive(GraphBuilder b, Value x) => b.Compare("Greater", x, b.ScalarLike(x, 0));

    private static Value Gelu(GraphBuilder b, Value dy, Value x, Value y) =>
        y.Producer!.GetString("approximate", "none") == "tanh" ? GeluTanh(b, dy, x) : GeluErf(b, dy, x);

    // y = x * cdf(x), cdf(x) = (1 + erf(x / sqrt 2)) / 2: dx = dy * (cdf(x) + x * density(x)), density(x) = exp(-x^2 / 2) / sqrt(2 pi)
    private static Value GeluErf(GraphBuilder b, Value dy, Value x)
    {
        Value scaled = b.Mul(x, InverseSqrt2);
        Value cdf = b.Add(b.Mul(b.Unary("Erf", scaled), 0.5), 0.5);
        Value density = b.Unary("Exp", b.Sub(LogDensityAtZero, b.Square(scaled)));
        return b.Mul(dy, b.Add(cdf, b.Mul(x, density)));
    }

    // y = x * h, h = (1 + tanh(u)) / 2, u = k * (x + 0.044715 x^3), k = sqrt(2 / pi):
    // dx = dy * (h + x * u' * 2 h (1 - h)), u' = k * (1 + 3 * 0.044715 x^2); note h = sigmoid(2 u)
    private static Value GeluTanh(GraphBuilder b, Value dy, Value x)
    {
        double k = Math.Sqrt(2 / Math.PI);
        Value square = b.Square(x);
        Value twiceU = b.Mul(x, b.Add(b.Mul(square, 2 * k * 0.044715), 2 * k));
        Value h = b.Unary("Sigmoid", twiceU);
        Value twiceSlope = b.Add(b.Mul(square, 6 * k * 0.044715), 2 * k);
        Value inner = b.Mul(b.Mul(x, twiceSlope), b.Mul(h, b.Sub(1, h)));
        return b.Mul(dy, b.Add(h, inner));
    }
}
