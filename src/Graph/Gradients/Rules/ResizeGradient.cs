using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// Resizing is linear in x and works on each axis by itself: y = x A along the axis, where A [size, new size] is what the very same
/// operator makes of the unit matrix; dx = dy A^T. So every mode and every way to place the coordinates is the operator's own.
/// </summary>
internal static class ResizeGradient
{
    private const int Scales = 2;
    private const int Sizes = 3;

    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        if (c.Node.GetString("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize")
        {
            throw c.Unsupported("it cuts out a region (tf_crop_and_resize)", "Cut with Slice and resize what is left.");
        }

        if (c.Node.GetString("keep_aspect_ratio_policy", "stretch") != "stretch")
        {
            throw c.Unsupported("it chooses its sizes itself (keep_aspect_ratio_policy)", "Give each axis its size, with the policy 'stretch'.");
        }

        Value x = c.Input(0);
        int rank = c.Rank(x);
        int[] axes = c.Node.GetInts("axes") is { } given ? [.. given.Select(a => c.Axis(a, x))] : [.. Enumerable.Range(0, rank)];
        Value dx = c.OutputGradient;
        for (int i = 0; i < axes.Length; i++)
        {
            if (!KeepsSize(c, x, axes[i], i))
            {
                dx = Contract(c.Builder, dx, Matrix(c, x, axes[i], i), axes[i], rank);
            }
        }

        dx.Type = x.Type;
        return c.Gradients(dx);
    }

    private static bool KeepsSize(GradientContext c, Value x, int axis, int position)
    {
        if (c.Node.InputOrNull(Sizes) is null && ConstantContent.Of(c.Node.InputOrNull(Scales))?.ToFloats() is { } scales)
        {
            return scales[position] == 1;
        }

        return x.Shape is { } from && c.Output(0).Shape is { } to && from[axis] == to[axis] && (from[axis].IsKnown || from[axis].Symbol is not null);
    }

    // What the operator makes of the unit matrix along its last axis.
    private static Value Matrix(GradientContext c, Value x, int axis, int position)
    {
        GraphBuilder b = c.Builder;
        Value size = c.DimensionOf(x, axis);
        Value Place(Value all) => b.Op("Slice", [all, b.Int64s(position), b.Int64s(position + 1), b.Int64s(0)]);
        Value? scales = null;
        Value? sizes = null;
        if (c.Node.InputOrNull(Sizes) is { } given)
        {
            sizes = b.Concat(0, b.Int64s(1, 1), size, Place(given));
        }
        else
        {
            Value one = b.Reshape(b.ScalarLike(c.Input(Scales), 1), 1);
            scales = b.Concat(0, one, one, one, Place(c.Input(Scales)));
        }

        DataType work = x.ElementType == DataType.Double ? DataType.Double : DataType.Float;
        Value zeros = b.Op("ConstantOfShape", [b.Concat(0, size, size)], ("value", Constants.Filled(work, 0)));
        Node resize = b.Emit("Resize", "", [b.Unsqueeze(b.Op("EyeLike", [zeros]), 0, 1), null, scales, sizes], 1);
        foreach ((string name, NodeAttribute value) in c.Node.Attributes.Where(a => a.Key != "axes"))
        {
            resize.SetAttribute(name, value);
        }

        return b.Cast(b.Squeeze(resize.Outputs[0], 0, 1), x.ElementType);
    }

    // Sum over an axis of new size, giving one of the old.
    private static Value Contract(GraphBuilder b, Value dy, Value matrix, int axis, int rank)
    {
        if (axis == rank - 2)
        {
            return b.MatMul(matrix, dy);
        }

        Value back = b.Transpose(matrix, 1, 0);
        if (axis == rank - 1)
        {
            return b.MatMul(dy, back);
        }

        long[] swap = [.. Enumerable.Range(0, rank).Select(i => (long)(i == axis ? rank - 1 : i == rank - 1 ? axis : i))];
        return b.Transpose(b.MatMul(b.Transpose(dy, swap), back), swap);
    }
}
