using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// Rotary embedding in the half-split form, <c>x * cos + Concat(-second half, first half) * sin</c> over heads of rank 4,
/// becomes <c>ortqlora.Rotary</c>. Halves come from Slice or Split.
/// </summary>
/// <param name="isTrained">Whether a value depends on what is trained; no gradient goes to the angles.</param>
internal sealed class RotaryFusion(Func<Value, bool> isTrained) : RewriteRule
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> NativeOperators => ["Rotary", "RotaryGrad"];

    /// <inheritdoc/>
    public override RewriteResult TryRewrite(Node node, long opset)
    {
        if (!node.Is("Add"))
        {
            return RewriteResult.NoMatch;
        }

        foreach ((Value along, Value across) in PatternParts.Orders(node))
        {
            if (Turned(across) is { } turned && Cosine(along, turned.X) is { } cos)
            {
                return Fuse(node, turned.X, cos, turned.Sin, opset);
            }
        }

        return RewriteResult.NoMatch;
    }

    private RewriteResult Fuse(Node node, Value x, Value cos, Value sin, long opset)
    {
        if (x.ElementType != DataType.Float || node.Outputs[0].IsGraphOutput)
        {
            return RewriteResult.Failed("x is not float, or the result a graph output", x);
        }

        if (cos.Shape is not { } angles || !angles.IsSameAs(sin.Shape) || Layout(x.Shape!, angles) is not { } layout)
        {
            return RewriteResult.Failed("cos and sin are no tables over positions and features", cos);
        }

        if (isTrained(cos) || isTrained(sin))
        {
            return RewriteResult.Failed("the angles depend on what is trained", cos);
        }

        Node fused = PatternParts.EmitNative(node, opset, "Rotary", [x, cos, sin], 1, ("layout", layout));
        return PatternParts.Replace(node.Outputs[0], fused.Outputs[0]);
    }

    /// <summary>Where the positions lie: [batch, heads, sequence, features] or [batch, sequence, heads, features].</summary>
    private static string? Layout(Shape x, Shape angles)
    {
        if (!angles[^1].IsSameAs(x[3]))
        {
            return null;
        }

        bool HasPositionsAt(int axis) => angles.Rank == 4 && angles[axis].IsSameAs(x[axis]) && angles[3 - axis].Value == 1
            && (angles[0].Value == 1 || angles[0].IsSameAs(x[0]));
        return (angles.Rank == 2 && angles[0].IsSameAs(x[2])) || HasPositionsAt(2) ? "bhsd"
            : HasPositionsAt(1) ? "bshd"
            : null;
    }

    /// <summary>x and sin of Concat(-second half of x, first half of x) * sin.</summary>
    private static (Value X, Value Sin)? Turned(Value value)
    {
        if (PatternParts.Made(value, "Mul") is { } product)
        {
            foreach ((Value turned, Value sin) in PatternParts.Orders(product))
            {
                if (PatternParts.Made(turned, "Concat") is { } concat && concat.Inputs is [{ } left, { } first]
                    && PatternParts.Made(left, "Neg")?.Inputs[0] is { } second && Whole(first, second) is { Shape.Rank: 4 } x
                    && concat.GetInt("axis", 0) is -1 or 3)
                {
                    return (x, sin);
                }
            }
        }

        return null;
    }

    private static Value? Cosine(Value value, Value x) => PatternParts.Made(value, "Mul") is { } product
        ? PatternParts.Orders(product).FirstOrDefault(o => o.First == x).Second
        : null;

    /// <summary>The value whose halves along the last axis these are.</summary>
    private static Value? Whole(Value first, Value second)
    {
        if (PatternParts.Made(first, "Split") is { } split && second.Producer == split)
        {
            bool halves = split.Outputs is [var a, var b] && a == first && b == second && split.GetInt("axis", 0) is -1 or 3
                && first.Shape is { Rank: 4 } shape && second.Shape is { Rank: 4 } other && shape[3].IsKnown && shape[3] == other[3];
            return halves ? split.Inputs[0] : null;
        }

        return PatternParts.Made(first, "Slice") is { } low && PatternParts.Made(second, "Slice") is { } high && low.Inputs[0] == high.Inputs[0]
            && low.Inputs[0] is { Shape: { Rank: 4 } whole } x && whole[3].Value is long size && size % 2 == 0
            && Bounds(low, size) == (0, size / 2) && Bounds(high, size) == (size / 2, size)
            ? x
            : null;
    }

    private static (long Start, long End)? Bounds(Node slice, long size)
    {
        if (ConstantContent.Int64s(slice.InputOrNull(1)) is not [var start] || ConstantContent.Int64s(slice.InputOrNull(2)) is not [var end]
            || ConstantContent.Int64s(slice.InputOrNull(3)) is not [-1 or 3]
            || (slice.InputOrNull(4) is { } steps && ConstantContent.Int64s(steps) is not [1]))
        {
            return null;
        }

        long FromFront(long bound) => Math.Clamp(bound < 0 ? bound + size : bound, 0, size);
        return (FromFront(start), FromFront(end));
    }
}
