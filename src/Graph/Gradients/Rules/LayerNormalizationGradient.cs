using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y = xh * scale + bias, xh = (x - mean) * inv over the axes from <c>axis</c> on: t = dy * scale,
/// dx = inv * (t - mean(t) - xh * mean(t * xh)), dscale = sum of dy * xh, dbias = sum of dy.
/// </summary>
internal static class LayerNormalizationGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        int rank = c.Rank(x);
        int axis = c.Axis(c.Node.GetInt("axis", -1), x);
        long[] axes = [.. Enumerable.Range(axis, rank - axis).Select(i => (long)i)];

        // Statistics and what is made of them stay in float for the half types, as the operator itself does.
        DataType work = x.ElementType == DataType.Double ? DataType.Double : DataType.Float;
        Value input = b.Cast(x, work);
        Value dy = b.Cast(c.OutputGradient, work);
        Standardized? known = null;
        Standardized Normalized() => known ??= Normalize(c, input, axes);
        return c.ForEachNeeded(i => i switch
        {
            0 => b.Cast(Normalized().InputGradient(b.Mul(dy, b.Cast(c.Input(1), work))), x.ElementType),
            1 => b.Cast(c.SumTo(b.Mul(dy, Normalized().Value), c.Input(1)), c.Input(1).ElementType),
            _ => c.SumTo(c.OutputGradient, c.Input(2)),
        });
    }

    // The operator gives its mean and inverse deviation in float; a double model computes them anew.
    private static Standardized Normalize(GradientContext c, Value input, long[] axes)
    {
        if (input.ElementType == DataType.Double || c.Node.GetInt("stash_type", 1) != (long)DataType.Float)
        {
            return Standardized.Of(c.Builder, input, c.Node.GetFloat("epsilon", 1e-5f), isCentred: true, axes);
        }

        Shape shape = new(c.Input(0).Shape!.Select((d, i) => i < axes[0] ? d : Dimension.Of(1)));
        OnnxType type = new OnnxType.Tensor(DataType.Float, shape);
        Value mean = c.RequireOutput(1, "mean", type);
        Value inverse = c.RequireOutput(2, "inv_std_dev", type);
        return Standardized.FromStatistics(c.Builder, input, mean, inverse, axes);
    }
}
