using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// Inference form, y = (x - mean) * inv * scale + bias per channel with fixed statistics, inv = 1 / sqrt(var + epsilon):
/// dx = dy * scale * inv, dbias = sum of dy, dscale = inv * sum of dy * (x - mean), dmean = -scale * inv * dbias,
/// dvar = -1/2 * scale * inv^2 * dscale.
/// </summary>
internal static class BatchNormalizationGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        if (c.Node.GetInt("training_mode", 0) != 0 || c.Node.Outputs.Count(o => o.Name.Length > 0) > 1)
        {
            throw c.Unsupported(
                "it is a BatchNormalization in training form (training_mode, or outputs for running statistics)",
                "Export the model in evaluation mode, so that its statistics are fixed.");
        }

        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        int spatialRank = Math.Max(c.Rank(x) - 2, 0);
        long[] allButChannel = [0, .. Enumerable.Range(2, spatialRank).Select(i => (long)i)];
        Value dy = c.OutputGradient;
        Value scale = c.Input(1);
        Value inverse = b.Unary("Reciprocal", b.Unary("Sqrt", b.Add(c.Input(4), c.Node.GetFloat("epsilon", 1e-5f))));
        Value factor = b.Mul(scale, inverse);
        Value? knownBias = null;
        Value? knownScale = null;
        return c.ForEachNeeded(i => i switch
        {
            0 => b.Mul(dy, PerChannel(factor)),
            1 => ScaleGradient(),
            2 => BiasGradient(),
            3 => b.Neg(b.Mul(factor, BiasGradient())),
            _ => b.Mul(b.Mul(b.Mul(factor, inverse), ScaleGradient()), -0.5),
        });

        Value PerChannel(Value vector) => InstanceNormalizationGradient.PerChannel(b, vector, spatialRank);
        Value BiasGradient() => knownBias ??= b.ReduceSum(dy, keepDims: false, allButChannel);
        Value ScaleGradient() => knownScale ??= b.Mul(
            inverse, b.ReduceSum(b.Mul(dy, b.Sub(x, PerChannel(c.Input(3)))), keepDims: false, allButChannel));
    }
}
