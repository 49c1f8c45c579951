using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y = F x along one axis, with complex numbers as pairs along the last one. The map is linear: dx = F^H dy, and F^H is N times the inverse
/// transform; the other way round for an inverse transform, which divides by N.
/// </summary>
internal static class DftGradient
{
    private const int LengthInput = 1;
    private const int AxisInput = 2;

    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        long? stated = c.Node.InputOrNull(AxisInput) is null ? -2 : c.ConstantInts(AxisInput)?[0];
        int axis = c.Axis(stated ?? throw c.Unsupported("an axis that is computed", "Export the model with a constant axis."), x);
        bool isInverse = c.Node.GetInt("inverse", 0) != 0;
        Value own = c.DimensionOf(x, axis);
        Value? given = c.Node.InputOrNull(LengthInput) is { } length ? b.Reshape(b.Cast(length, DataType.Int64), 1) : null;
        Value count = given ?? own;

        // The half that a one-sided transform leaves out has no gradient.
        Value dy = c.Node.GetInt("onesided", 0) != 0 ? WithLength(b, c.OutputGradient, axis, count, c) : c.OutputGradient;
        Value transformed = b.Op("DFT", [dy, null, b.Scalar((long)axis)], ("inverse", isInverse ? 0 : 1));
        Value factor = b.Cast(count, x.ElementType);
        Value dx = isInverse ? b.Div(transformed, factor) : b.Mul(transformed, factor);

        // What the transform cut off has no gradient, what it appended is not x's.
        dx = given is null ? dx : WithLength(b, dx, axis, own, c);
        int parts = c.Rank(x) - 1;
        if (x.Shape![parts].Value != 2)
        {
            dx = b.Op("Slice", [dx, b.Int64s(0), c.DimensionOf(x, parts), b.Int64s(parts)]);
        }

        dx.Type = x.Type;
        return c.Gradients(dx);
    }

    // Zeros behind, or the rest cut off.
    private static Value WithLength(GraphBuilder b, Value value, int axis, Value length, GradientContext c)
    {
        int rank = c.Rank(c.Input(0));
        Value missing = b.Sub(length, b.ShapeOf(value, axis, axis + 1));
        Value pads = b.Concat(0, b.Int64s(new long[rank + axis]), missing, b.Int64s(new long[rank - axis - 1]));
        return b.Op("Pad", [value, pads]);
    }
}
