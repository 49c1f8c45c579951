using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>y = concat(x_0, x_1, ...): dx_i = the part of dy that came from x_i.</summary>
internal static class ConcatGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        int count = c.Node.Inputs.Count;
        int axis = c.Axis(c.Node.GetInt("axis", 0), c.Output(0));
        if (count == 1)
        {
            return [c.OutputGradient];
        }

        // One Split copies every part once; single parts are sliced so that the others are not copied.
        bool allNeeded = Enumerable.Range(0, count).All(c.NeedsGradient);
        return allNeeded ? SplitAll(c, axis) : c.ForEachNeeded(i => SliceOne(c, axis, i));
    }

    private static IReadOnlyList<Value?> SplitAll(GradientContext c, int axis)
    {
        GraphBuilder b = c.Builder;
        int count = c.Node.Inputs.Count;
        Node split = b.Emit("Split", "", [c.OutputGradient, Lengths(c, axis, 0, count)], count, ("axis", axis));
        for (int i = 0; i < count; i++)
        {
            split.Outputs[i].Type = c.Input(i).Type;
        }

        return [.. split.Outputs];
    }

    private static Value SliceOne(GradientContext c, int axis, int index)
    {
        GraphBuilder b = c.Builder;
        Value start = Sum(c, Lengths(c, axis, 0, index));
        Value end = Sum(c, Lengths(c, axis, 0, index + 1));
        Value part = b.Op("Slice", [c.OutputGradient, start, end, b.Int64s(axis)]);
        part.Type = c.Input(index).Type;
        return part;
    }

    // Lengths of inputs along the axis, int64 [end - start]: a constant if all are known.
    private static Value Lengths(GradientContext c, int axis, int start, int end)
    {
        Value[] inputs = [.. Enumerable.Range(start, end - start).Select(c.Input)];
        return inputs.All(x => x.Shape is { } shape && shape[axis].IsKnown)
            ? c.Builder.Int64s([.. inputs.Select(x => x.Shape![axis].Value!.Value)])
            : c.Builder.Concat(0, inputs.Select(x => c.DimensionOf(x, axis)));
    }

    private static Value Sum(GradientContext c, Value lengths) => ConstantContent.Int64s(lengths) is { } known
        ? c.Builder.Int64s(known.Sum())
        : c.Builder.ReduceSum(lengths, keepDims: true, 0);
}
