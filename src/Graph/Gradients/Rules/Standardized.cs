using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// A standardized tensor xh = (x - mean) * inv with inv = 1 / sqrt(var + epsilon) over some axes (or xh = x * inv with
/// inv = 1 / sqrt(mean(x^2) + epsilon)), and the gradient through it.
/// </summary>
/// <param name="Builder">Emits the nodes.</param>
/// <param name="Axes">Axes over which the statistics are taken.</param>
/// <param name="Value">xh.</param>
/// <param name="InverseDeviation">inv, the axes kept as 1.</param>
/// <param name="IsCentred">Whether the mean is taken off.</param>
internal sealed record Standardized(GraphBuilder Builder, long[] Axes, Value Value, Value InverseDeviation, bool IsCentred)
{
    /// <summary>Computes mean and deviation of x.</summary>
    public static Standardized Of(GraphBuilder b, Value x, float epsilon, bool isCentred, params long[] axes)
    {
        Value centred = isCentred ? b.Sub(x, b.ReduceMean(x, keepDims: true, axes)) : x;
        Value variance = b.ReduceMean(b.Square(centred), keepDims: true, axes);
        Value inverse = b.Unary("Reciprocal", b.Unary("Sqrt", b.Add(variance, epsilon)));
        return new Standardized(b, axes, b.Mul(centred, inverse), inverse, isCentred);
    }

    /// <summary>Takes mean and inverse deviation that the forward pass has computed.</summary>
    public static Standardized FromStatistics(GraphBuilder b, Value x, Value mean, Value inverse, params long[] axes) =>
        new(b, axes, b.Mul(b.Sub(x, mean), inverse), inverse, IsCentred: true);

    /// <summary>dx = inv * (t - mean(t) - xh * mean(t * xh)) for t = dxh; without mean(t) if xh is not centred.</summary>
    public Value InputGradient(Value t)
    {
        Value alongInput = Builder.Mul(Value, Builder.ReduceMean(Builder.Mul(t, Value), keepDims: true, Axes));
        Value centred = IsCentred ? Builder.Sub(t, Builder.ReduceMean(t, keepDims: true, Axes)) : t;
        return Builder.Mul(Builder.Sub(centred, alongInput), InverseDeviation);
    }
}
