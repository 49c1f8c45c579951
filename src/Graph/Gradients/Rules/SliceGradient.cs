using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y = x[starts : ends : steps]: dx = zeros like x with dy at the places that the slice took. A step of 1 needs only
/// padding; a constant larger step is stretched with zeros first, a negative one turned round; only steps known at
/// run time alone scatter.
/// </summary>
internal static class SliceGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        long[]? steps = c.Node.InputOrNull(4) is null ? [] : c.ConstantInts(4);
        long[]? axes = c.Node.InputOrNull(3) is null
            ? c.Input(1).Shape?[0].Value is { } count ? [.. Enumerable.Range(0, (int)count).Select(i => (long)i)] : null
            : c.ConstantInts(3);
        if (steps is null || axes is null)
        {
            Value Repeat(Value indices) => b.Op("Slice", [indices, .. c.Node.Inputs.Skip(1)]);
            return c.Gradients(MovedElements.Build(c, Repeat));
        }

        int[] places = [.. axes.Select(a => c.Axis(a, x))];
        long[] strides = [.. places.Select((_, i) => i < steps.Length ? steps[i] : 1)];
        return c.Gradients(TryConstantPart(c, places, strides) ?? Pad(c, places, strides));
    }

    // A contiguous part along one axis of known length: the form that sums of such gradients can join.
    private static Value? TryConstantPart(GradientContext c, int[] axes, long[] steps)
    {
        if (axes.Length != 1 || steps[0] != 1 || c.ConstantInts(1) is not { } starts || c.ConstantInts(2) is not { } ends
            || c.Input(0).Shape![axes[0]].Value is not { } dim)
        {
            return null;
        }

        long start = Math.Clamp(starts[0] < 0 ? starts[0] + dim : starts[0], 0, dim);
        long end = Math.Clamp(ends[0] < 0 ? ends[0] + dim : ends[0], start, dim);
        return c.Forms.PadPart(c.OutputGradient, c.Input(0), axes[0], start, end - start);
    }

    private static Value Pad(GradientContext c, int[] axes, long[] steps)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        Value axesValue = b.Int64s([.. axes.Select(a => (long)a)]);
        Value dims = PickDims(c, x, axes);
        Value lengths = PickDims(c, c.Output(0), axes);

        // First element taken on each axis, as ONNX clamps it: [0, dim] going up, [0, dim - 1] going down.
        Value starts = b.Cast(c.Input(1), DataType.Int64);
        Value fromEnd = b.Where(b.Compare("Less", starts, b.Scalar(0L)), b.Add(starts, dims), starts);
        Value last = b.Add(dims, b.Int64s([.. steps.Select(s => s > 0 ? 0L : -1L)]));
        Value first = b.Op("Max", [b.Op("Min", [fromEnd, last]), b.Scalar(0L)]);

        Value gradient = Reverse(c, c.OutputGradient, axes, steps);
        gradient = Stretch(c, gradient, axes, steps);

        // Going down, the lowest element taken is the last one: first + (length - 1) * step.
        Value span = b.Mul(b.Op("Max", [b.Sub(lengths, b.Scalar(1L)), b.Scalar(0L)]), b.Int64s([.. steps.Select(s => Math.Min(s, 0))]));
        Value before = steps.All(s => s > 0) ? first : b.Add(first, span);

        // Stretched to length * |step| the gradient may reach beyond x; a negative pad cuts that off.
        Value stretched = steps.All(s => Math.Abs(s) == 1) ? lengths : b.Mul(lengths, b.Int64s([.. steps.Select(Math.Abs)]));
        Value after = b.Sub(b.Sub(dims, before), stretched);
        Value dx = b.Op("Pad", [gradient, b.Concat(0, before, after), null, axesValue]);
        dx.Type = x.Type;
        return dx;
    }

    // Turns the axes with a negative step round.
    private static Value Reverse(GradientContext c, Value gradient, int[] axes, long[] steps)
    {
        GraphBuilder b = c.Builder;
        long[] down = [.. axes.Where((_, i) => steps[i] < 0).Select(a => (long)a)];
        if (down.Length == 0)
        {
            return gradient;
        }

        Value reversed = b.Op("Slice", [
            gradient,
            b.Int64s([.. down.Select(_ => -1L)]),
            b.Int64s([.. down.Select(_ => long.MinValue)]),
            b.Int64s(down),
            b.Int64s([.. down.Select(_ => -1L)])]);
        reversed.Type = gradient.Type;
        return reversed;
    }

    // Puts |step| - 1 zeros behind every element: [.., n, ..] -> [.., n, |step|, ..] -> [.., n * |step|, ..].
    private static Value Stretch(GradientContext c, Value gradient, int[] axes, long[] steps)
    {
        GraphBuilder b = c.Builder;
        int rank = c.Rank(gradient);
        for (int i = 0; i < axes.Length; i++)
        {
            long step = Math.Abs(steps[i]);
            if (step == 1)
            {
                continue;
            }

            int axis = axes[i];
            Value padded = b.Op("Pad", [b.Unsqueeze(gradient, axis + 1), b.Int64s(0, step - 1), null, b.Int64s(axis + 1)]);
            Value length = b.Mul(c.DimensionOf(gradient, axis), b.Int64s(step));
            Value shape = b.Concat(0, Enumerable.Range(0, rank).Select(a => a == axis ? length : c.DimensionOf(gradient, a)));
            gradient = b.Op("Reshape", [padded, shape], ("allowzero", 1));
            Shape known = padded.Shape is null ? new Shape(Enumerable.Repeat(Dimension.Unknown, rank))
                : new Shape(Enumerable.Range(0, rank).Select(a => a < axis ? padded.Shape[a] : a > axis ? padded.Shape[a + 1]
                    : padded.Shape[axis].Value is { } n ? n * step : Dimension.Unknown));
            gradient.Type = new OnnxType.Tensor(gradient.ElementType, known);
        }

        return gradient;
    }

    private static Value PickDims(GradientContext c, Value value, int[] axes) =>
        axes.Length == 1 ? c.DimensionOf(value, axes[0]) : c.Builder.Concat(0, axes.Select(a => c.DimensionOf(value, a)));
}
