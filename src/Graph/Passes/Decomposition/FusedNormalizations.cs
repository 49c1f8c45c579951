using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>Normalizations with the sum of a residual branch, or with the embeddings of an encoder, in front.</summary>
internal static class FusedNormalizations
{
    private const float SkipEpsilon = 1e-12f;

    // s = x + skip + bias, y = layernorm(s) * gamma + beta; outputs y, mean, inverse deviation, s
    internal static IReadOnlyList<Value?> SkipLayerNormalization(DecompositionContext c)
    {
        Value sum = Sum(c, bias: 4);
        return [LayerNorm(c, sum, c.Input(2), c.InputOrNull(3), c.Node.GetFloat("epsilon", SkipEpsilon)), null, null, Handed(c, 3, sum)];
    }

    // s = x + skip + bias, y = s / sqrt(mean(s^2) + epsilon) * gamma; outputs y, mean, inverse deviation, s
    internal static IReadOnlyList<Value?> SkipSimplifiedLayerNormalization(DecompositionContext c)
    {
        Value sum = Sum(c, bias: 3);
        return [RmsNorm(c, sum, c.Input(2), c.Node.GetFloat("epsilon", SkipEpsilon)), null, null, Handed(c, 3, sum)];
    }

    internal static string? RefuseStatistics(Node node) => Enumerable.Range(1, 2).FirstOrDefault(i => node.OutputOrNull(i)?.IsUsed == true) is > 0 and int read
        ? $"its output {read} ('{node.Outputs[read].Name}'), a statistic for training, is read. Take the reader out"
        : null;

    // Sum of word, position and segment embeddings, then layernorm; outputs y, number of unmasked tokens a row, the sum.
    internal static IReadOnlyList<Value?> EmbedLayerNormalization(DecompositionContext c)
    {
        GraphBuilder b = c.Builder;
        Value ids = c.Input(0);
        Value sum = b.Op("Gather", [c.Input(2), ids], ("axis", 0L));
        Value positions = c.InputOrNull(8) ?? c.Shared(("positions", DecompositionContext.DimensionKey(ids, 1)), () => c.Count(c.Shapes.Dimension(ids, 1)));
        sum = b.Add(sum, b.Op("Gather", [c.Input(3), positions], ("axis", 0L)));
        if (c.InputOrNull(1) is { } segments && c.InputOrNull(4) is { } segmentTable)
        {
            sum = b.Add(sum, b.Op("Gather", [segmentTable, segments], ("axis", 0L)));
        }

        Value normalized = LayerNorm(c, sum, c.Input(5), c.Input(6), c.Node.GetFloat("epsilon", SkipEpsilon));
        return [normalized, c.IsRead(1) ? MaskLengths(c, ids) : null, Handed(c, 2, sum)];
    }

    // y = groupnorm(x), then SiLU if asked for; of s = x + skip + bias for the form with a residual
    internal static IReadOnlyList<Value?> GroupNorm(DecompositionContext c) => [GroupNorm(c, c.Input(0))];

    internal static IReadOnlyList<Value?> SkipGroupNorm(DecompositionContext c)
    {
        GraphBuilder b = c.Builder;
        Value skip = c.Input(3);
        skip = skip.Shape is { Rank: 2 } ? b.Unsqueeze(skip, c.Node.GetInt("channels_last", 1) != 0 ? [1, 2] : [2, 3]) : skip;
        Value sum = b.Add(c.Input(0), skip);
        if (c.InputOrNull(4) is { } bias)
        {
            sum = b.Add(sum, c.Node.GetInt("channels_last", 1) != 0 ? bias : b.Unsqueeze(bias, 1, 2));
        }

        return [GroupNorm(c, sum), Handed(c, 1, sum)];
    }

    /// <summary>Emits layer normalization over the last axis.</summary>
    internal static Value LayerNorm(DecompositionContext c, Value x, Value gamma, Value? beta, float epsilon) =>
        c.Builder.Op("LayerNormalization", beta is null ? [x, gamma] : [x, gamma, beta], ("axis", -1L), ("epsilon", epsilon));

    /// <summary>
    /// Emits RMS normalization over the last axis. ONNX's own operator came with opset 23; before, ONNX Runtime runs the
    /// same under another name.
    /// </summary>
    internal static Value RmsNorm(DecompositionContext c, Value x, Value gamma, float epsilon) =>
        c.Builder.Op(c.Builder.Opset >= 23 ? "RMSNormalization" : "SimplifiedLayerNormalization", [x, gamma], ("axis", -1L), ("epsilon", epsilon));

    private static Value Sum(DecompositionContext c, int bias) => c.AddIfGiven(c.Builder.Add(c.Input(0), c.Input(1)), c.InputOrNull(bias));

    private static Value? Handed(DecompositionContext c, int output, Value value) => c.IsRead(output) ? value : null;

    // How many tokens of a row the mask leaves open; all-zero without a mask, as the operator has it.
    private static Value MaskLengths(DecompositionContext c, Value ids)
    {
        GraphBuilder b = c.Builder;
        if (c.InputOrNull(7) is not { } mask)
        {
            return b.Op("ConstantOfShape", [c.Shapes.Dimension(ids, 0)], ("value", DenseTensor.Vector(0)));
        }

        Value open = b.Cast(b.Op("Equal", [mask, b.ScalarLike(mask, 1)]), DataType.Int32);
        return b.ReduceSum(open, keepDims: false, 1);
    }

    private static Value GroupNorm(DecompositionContext c, Value x)
    {
        GraphBuilder b = c.Builder;
        bool isChannelsLast = c.Node.GetInt("channels_last", 1) != 0;
        DataType type = x.ElementType;
        x = isChannelsLast ? b.Transpose(x, 0, 3, 1, 2) : x;
        Value y = b.Op(
            "GroupNormalization",
            [x, b.Cast(c.Input(1), type), b.Cast(c.Input(2), type)],
            ("num_groups", c.Node.GetInt("groups", 1)), ("epsilon", c.Node.GetFloat("epsilon", 1e-5f)));
        if (c.Node.GetInt("activation", 0) != 0)
        {
            y = b.Mul(y, b.Op("Sigmoid", [y]));
        }

        return isChannelsLast ? b.Transpose(y, 0, 2, 3, 1) : y;
    }
}
