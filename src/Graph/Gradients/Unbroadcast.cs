using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>
/// Sums a gradient over the axes along which its value was broadcast: the transpose of broadcasting. Axes are
/// chosen now where numbers and symbols prove them, and computed in the graph where they do not.
/// </summary>
internal static class Unbroadcast
{
    /// <summary>Sums <paramref name="gradient"/> down to the shape of <paramref name="target"/>.</summary>
    /// <exception cref="GraphException">The gradient's shape cannot come from broadcasting the target.</exception>
    public static Value SumTo(GraphBuilder builder, ShapeEmitter shapes, Value gradient, Value target)
    {
        if (gradient == target || (gradient.Shape is { } same && same.IsSameAs(target.Shape)))
        {
            return gradient;
        }

        if (gradient.Shape is not { } from || target.Shape is not { } to)
        {
            return SumDynamically(builder, shapes, gradient, target);
        }

        int leading = from.Rank - to.Rank;
        if (leading < 0)
        {
            throw Mismatch(gradient, target);
        }

        List<long> axes = [.. Enumerable.Range(0, leading).Select(i => (long)i)];
        for (int i = 0; i < to.Rank; i++)
        {
            Dimension given = from[leading + i];
            Dimension wanted = to[i];
            if (wanted.Value == 1)
            {
                if (given.Value != 1)
                {
                    // An unknown dimension that turns out to be 1 is summed at no harm.
                    axes.Add(leading + i);
                }
            }
            else if (wanted.IsKnown)
            {
                if (given.IsKnown && given != wanted)
                {
                    throw Mismatch(gradient, target);
                }
            }
            else if (!wanted.IsSameAs(given))
            {
                return SumDynamically(builder, shapes, gradient, target);
            }
        }

        if (axes.Count == 0)
        {
            return gradient;
        }

        bool onlyLeading = axes.Count == leading;
        Value sum = builder.ReduceSum(gradient, keepDims: !onlyLeading, [.. axes]);
        if (!onlyLeading && leading > 0)
        {
            sum = builder.Squeeze(sum, [.. axes.Take(leading)]);
        }

        sum.Type = new OnnxType.Tensor(gradient.ElementType, to);
        return sum;
    }

    // Axes where the (left-padded) shape of the target differs from the gradient's are those that were broadcast.
    private static Value SumDynamically(GraphBuilder builder, ShapeEmitter shapes, Value gradient, Value target)
    {
        Value gradientShape = shapes.Of(gradient);
        Value targetShape = shapes.Of(target);
        Value padded = targetShape;
        bool sameRank = gradient.Shape is not null && gradient.Shape.Rank == target.Shape?.Rank;
        if (gradient.Shape is { } from && target.Shape is { } to)
        {
            if (from.Rank > to.Rank)
            {
                padded = builder.Concat(0, builder.Int64s([.. Enumerable.Repeat(1L, from.Rank - to.Rank)]), targetShape);
            }
        }
        else
        {
            Value missing = builder.Sub(builder.ShapeOf(gradientShape), builder.ShapeOf(targetShape));
            padded = builder.Concat(0, builder.Expand(builder.Int64s(1), missing), targetShape);
        }

        Value differs = builder.Op("Not", [builder.Op("Equal", [padded, gradientShape])]);
        Value axes = builder.Squeeze(builder.Op("NonZero", [differs]), 0);
        Value sum = builder.ReduceSum(gradient, axes, keepDims: true);
        if (!sameRank)
        {
            sum = builder.Op("Reshape", [sum, targetShape], ("allowzero", 1));
        }

        sum.Type = new OnnxType.Tensor(gradient.ElementType, target.Shape);
        return sum;
    }

    private static GraphException Mismatch(Value gradient, Value target) => new(
        $"The gradient '{gradient}' cannot be summed down to '{target}': its shape is no broadcast of the value's. The gradient rule that made it is wrong, or the model's shapes are.");
}
