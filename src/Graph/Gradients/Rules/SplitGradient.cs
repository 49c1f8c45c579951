using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>y_0, y_1, ... = split(x): dx = concat(dy_0, dy_1, ...), with zeros for parts whose gradient is zero.</summary>
internal static class SplitGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        int count = c.Node.Outputs.Count;
        int axis = c.Axis(c.Node.GetInt("axis", 0), c.Input(0));
        int[] given = [.. Enumerable.Range(0, count).Where(i => c.OutputGradientOrNull(i) is not null)];
        if (given.Length == 1 && PadSingle(c, axis, given[0]) is { } padded)
        {
            return c.Gradients(padded);
        }

        Value dx = c.Builder.Concat(axis, Enumerable.Range(0, count).Select(i => c.OutputGradientOrNull(i) ?? c.ZerosLike(c.Node.Outputs[i])));
        dx.Type = c.Input(0).Type;
        return c.Gradients(dx);
    }

    private static Value? PadSingle(GradientContext c, int axis, int index)
    {
        long before = 0;
        for (int i = 0; i <= index; i++)
        {
            if (c.Node.Outputs[i].Shape?[axis].Value is not { } length)
            {
                return null;
            }

            if (i == index)
            {
                return c.Input(0).Shape?[axis].IsKnown == true
                    ? c.Forms.PadPart(c.OutputGradientOrNull(index)!, c.Input(0), axis, before, length)
                    : null;
            }

            before += length;
        }

        return null;
    }
}
