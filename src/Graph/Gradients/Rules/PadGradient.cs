using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y = pad(x, pads, value): dx = pad(dy, -pads), which cuts off what was added (and restores, as zeros, what negative pads
/// cut off); dvalue = sum of dy outside. Padding by copies of x (reflect, edge, wrap) adds the copies' gradients up.
/// </summary>
internal static class PadGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        string mode = c.Node.GetString("mode", "constant");
        if (mode != "constant")
        {
            Value Repeat(Value positions) => b.Op("Pad", [positions, c.Input(1), null, c.Node.InputOrNull(3)], ("mode", mode));
            return c.Gradients(MovedElements.Build(c, Repeat));
        }

        Value x = c.Input(0);
        Value dy = c.OutputGradient;
        Value cut = b.Op("Pad", [dy, b.Neg(c.Input(1)), null, c.Node.InputOrNull(3)]);
        cut.Type = x.Type;
        return c.ForEachNeeded(i => i switch
        {
            0 => cut,
            2 => Outside(c, cut),
            _ => null,
        });
    }

    // The padding value's gradient: all of dy less what went to x. Elements that negative pads cut off are zero in the latter.
    private static Value Outside(GradientContext c, Value inside)
    {
        GraphBuilder b = c.Builder;
        Value Sum(Value v) => b.Op("ReduceSum", [v], ("keepdims", 0));
        return c.ReshapeLike(b.Sub(Sum(c.OutputGradient), Sum(inside)), c.Input(2));
    }
}
