using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y = xh * scale, xh = x * inv, inv = 1 / sqrt(mean(x^2) + epsilon) over the axes from <c>axis</c> on: t = dy * scale,
/// dx = inv * (t - xh * mean(t * xh)), dscale = sum of dy * xh.
/// </summary>
internal static class RmsNormalizationGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        int rank = c.Rank(x);
        int axis = c.Axis(c.Node.GetInt("axis", -1), x);
        long[] axes = [.. Enumerable.Range(axis, rank - axis).Select(i => (long)i)];
        DataType work = x.ElementType == DataType.Double ? DataType.Double : DataType.Float;
        Value dy = b.Cast(c.OutputGradient, work);
        Standardized normalized = Standardized.Of(b, b.Cast(x, work), c.Node.GetFloat("epsilon", 1e-5f), isCentred: false, axes);
        return c.ForEachNeeded(i => i switch
        {
            0 => b.Cast(normalized.InputGradient(b.Mul(dy, b.Cast(c.Input(1), work))), x.ElementType),
            1 => b.Cast(c.SumTo(b.Mul(dy, normalized.Value), c.Input(1)), c.Input(1).ElementType),
            _ => null,
        });
    }
}
