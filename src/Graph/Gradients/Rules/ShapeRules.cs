using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Rules of operators that move elements without looking at them. dy is the output's gradient.</summary>
internal static class ShapeRules
{
    public static void Register(GradientRuleRegistry rules)
    {
        // Same elements in another shape: dx = reshape(dy, shape(x))
        rules.Add("Reshape", RuleForms.Reshaped);
        rules.Add("Flatten", RuleForms.Reshaped);
        rules.Add("Squeeze", RuleForms.Reshaped);
        rules.Add("Unsqueeze", RuleForms.Reshaped);

        // y = transpose(x, perm): dx = transpose(dy, perm^-1)
        rules.Add("Transpose", Transpose);

        // y = broadcast(x): dx = sum of dy over the broadcast axes, which the walk does
        rules.Add("Expand", RuleForms.PassThrough);
        rules.Add("Tile", Tile);
        rules.Add("Concat", ConcatGradient.Build);
        rules.Add("Split", SplitGradient.Build);
        rules.Add("Slice", SliceGradient.Build);
        rules.Add("Pad", PadGradient.Build);

        // y = triangle(x): dx = triangle(dy)
        rules.Add("Trilu", c => c.Gradients(c.Builder.Op(
            "Trilu", [c.OutputGradient, c.Node.InputOrNull(1)], ("upper", c.Node.GetInt("upper", 1)))));

        // y = space_to_depth(x): dx = depth_to_space(dy), and the reverse
        rules.Add("SpaceToDepth", c => [c.Builder.Op("DepthToSpace", [c.OutputGradient], ("blocksize", c.Node.GetInt("blocksize", 1)))]);
        rules.Add("DepthToSpace", DepthToSpace);

        // y_i = start + i * delta: dstart = sum of dy_i, ddelta = sum of i * dy_i; the limit only sets the length
        rules.Add("Range", Range);
    }

    private static IReadOnlyList<Value?> Transpose(GradientContext c)
    {
        int rank = c.Rank(c.Input(0));
        long[] perm = c.Node.GetInts("perm") ?? [.. Enumerable.Range(0, rank).Reverse().Select(i => (long)i)];
        long[] inverse = new long[rank];
        for (int i = 0; i < rank; i++)
        {
            inverse[perm[i]] = i;
        }

        return [c.Transpose(c.OutputGradient, inverse)];
    }

    // y repeats x r_i times along axis i: dx = sum over j of reshape(dy, [r_0, d_0, r_1, d_1, ...]) along the axes r
    private static IReadOnlyList<Value?> Tile(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        int rank = c.Rank(x);
        if (rank == 0)
        {
            return c.Gradients(c.OutputGradient);
        }

        Value pairs = b.Concat(1, b.Unsqueeze(c.Input(1), 1), b.Unsqueeze(c.ShapeOf(x), 1));
        Value split = b.Op("Reshape", [c.OutputGradient, b.Reshape(pairs, -1)], ("allowzero", 1));
        Value sum = b.ReduceSum(split, keepDims: false, [.. Enumerable.Range(0, rank).Select(i => 2L * i)]);
        sum.Type = x.Type;
        return c.Gradients(sum);
    }

    private static IReadOnlyList<Value?> DepthToSpace(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        long block = c.Node.GetInt("blocksize", 1);
        if (c.Node.GetString("mode", "DCR") == "DCR")
        {
            return [b.Op("SpaceToDepth", [c.OutputGradient], ("blocksize", block))];
        }

        // CRD: depth is (channel, row in block, column in block); y is [n, c, h * block, w * block].
        Value x = c.Input(0);
        Value batch = c.DimensionOf(x, 0);
        Value height = c.DimensionOf(x, 2);
        Value width = c.DimensionOf(x, 3);
        Value channels = c.DimensionOf(c.Output(0), 1);
        Value blocks = b.Op(
            "Reshape", [c.OutputGradient, b.Concat(0, batch, channels, height, b.Int64s(block), width, b.Int64s(block))], ("allowzero", 1));
        return [c.ReshapeLike(b.Transpose(blocks, 0, 1, 3, 5, 2, 4), x)];
    }

    private static IReadOnlyList<Value?> Range(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value dy = c.OutputGradient;
        Value length = b.Squeeze(c.DimensionOf(c.Output(0), 0), 0);
        return c.ForEachNeeded(i => i switch
        {
            0 => b.ReduceSum(dy, keepDims: false, 0),
            2 => b.ReduceSum(
                b.Mul(dy, b.Cast(b.Op("Range", [b.Scalar(0L), length, b.Scalar(1L)]), dy.ElementType)), keepDims: false, 0),
            _ => null,
        });
    }
}
