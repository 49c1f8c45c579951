using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y = xh * scale + bias, xh standardized over each sample's groups of channels, seen as [N, G, rest]: dx as for layer
/// normalization with t = dy * scale, dscale = sum of dy * xh, dbias = sum of dy. Scale and bias are per group below
/// opset 21, per channel from there on.
/// </summary>
internal static class GroupNormalizationGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        int rank = c.Rank(x);
        long groups = c.Node.GetInt("num_groups", 1);
        bool perGroup = b.Opset < 21;
        Value dy = c.OutputGradient;
        Standardized normalized = Standardized.Of(b, Grouped(x), c.Node.GetFloat("epsilon", 1e-5f), isCentred: true, 2);
        Value scale = perGroup ? b.Unsqueeze(c.Input(1), 1) : InstanceNormalizationGradient.PerChannel(b, c.Input(1), rank - 2);
        return c.ForEachNeeded(i => i switch
        {
            0 => c.ReshapeLike(normalized.InputGradient(perGroup ? b.Mul(Grouped(dy), scale) : Grouped(b.Mul(dy, scale))), x),
            1 => SumPerParameter(perGroup
                ? b.Mul(Grouped(dy), normalized.Value)
                : b.Mul(dy, c.ReshapeLike(normalized.Value, x))),
            _ => SumPerParameter(perGroup ? Grouped(dy) : dy),
        });

        Value Grouped(Value value) => b.Reshape(value, 0, groups, -1);

        Value SumPerParameter(Value value) =>
            b.ReduceSum(value, keepDims: false, [0, .. Enumerable.Range(2, (perGroup ? 3 : rank) - 2).Select(i => (long)i)]);
    }
}
