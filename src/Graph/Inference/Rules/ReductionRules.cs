using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Reductions over axes, which came as an attribute first and as an input later.</summary>
internal static class ReductionRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(
            Reduce,
            "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
            "ReduceSumSquare");
        registry.Add(ArgReduce, "ArgMax", "ArgMin");
    }

    private static void Reduce(OperatorCall call)
    {
        long[]? axes = call.IntsFrom("axes", 1, out bool isKnown);
        bool keepDims = call.Node.GetInt("keepdims", 1) != 0;
        call.Set(0, call.TypeOf(0), call.ShapeOf(0) is not Shape shape ? null
            : isKnown ? Reduced(call, shape, axes, keepDims)
            : UnknownAxes(call, shape, keepDims));
    }

    private static Shape Reduced(OperatorCall call, Shape shape, long[]? axes, bool keepDims)
    {
        if (axes is null or [])
        {
            return call.Node.GetInt("noop_with_empty_axes", 0) != 0 ? shape
                : keepDims ? new Shape(shape.Select(_ => Dimension.Of(1)))
                : Shape.Scalar;
        }

        int[] reduced = call.Axes(axes, shape.Rank);
        return keepDims
            ? new Shape(shape.Select((d, i) => reduced.Contains(i) ? 1 : d))
            : new Shape(shape.Where((_, i) => !reduced.Contains(i)));
    }

    private static Shape? UnknownAxes(OperatorCall call, Shape shape, bool keepDims)
    {
        if (keepDims)
        {
            return new Shape(shape.Select(d => d.Value == 1 ? d : Dimension.Unknown));
        }

        return call.ShapeOf(1) is [{ Value: long count and > 0 }] && count <= shape.Rank
            ? new Shape(Enumerable.Repeat(Dimension.Unknown, shape.Rank - (int)count))
            : null;
    }

    private static void ArgReduce(OperatorCall call)
    {
        Shape? shape = call.ShapeOf(0);
        call.Set(0, DataType.Int64, shape is null ? null : Reduced(call, shape, [call.Node.GetInt("axis", 0)], call.Node.GetInt("keepdims", 1) != 0));
    }
}
