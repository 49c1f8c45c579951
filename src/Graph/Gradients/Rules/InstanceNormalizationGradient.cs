using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y = xh * scale + bias per channel, xh standardized over the spatial axes of each sample and channel of x [N, C, ...]:
/// dx as for layer normalization with t = dy * scale, dscale = sum of dy * xh and dbias = sum of dy over all but C.
/// </summary>
internal static class InstanceNormalizationGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        int rank = c.Rank(x);
        long[] spatial = [.. Enumerable.Range(2, rank - 2).Select(i => (long)i)];
        long[] allButChannel = [0, .. spatial];
        Standardized normalized = Standardized.Of(b, x, c.Node.GetFloat("epsilon", 1e-5f), isCentred: true, spatial);
        Value dy = c.OutputGradient;
        return c.ForEachNeeded(i => i switch
        {
            0 => normalized.InputGradient(b.Mul(dy, PerChannel(b, c.Input(1), spatial.Length))),
            1 => b.ReduceSum(b.Mul(dy, normalized.Value), keepDims: false, allButChannel),
            _ => b.ReduceSum(dy, keepDims: false, allButChannel),
        });
    }

    /// <summary>A vector [C] so shaped that it broadcasts along the second axis: [C, 1, ..., 1].</summary>
    internal static Value PerChannel(GraphBuilder b, Value vector, int spatialRank) =>
        spatialRank == 0 ? vector : b.Unsqueeze(vector, [.. Enumerable.Range(1, spatialRank).Select(i => (long)i)]);
}
