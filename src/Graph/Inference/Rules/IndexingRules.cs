using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Operators that pick elements by position or write them there.</summary>
internal static class IndexingRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(Gather, "Gather");
        registry.Add(GatherElements, "GatherElements");
        registry.Add(GatherNd, "GatherND");
        registry.Add(Scatter, "Scatter", "ScatterElements", "ScatterND", "TensorScatter");
        registry.Add(SliceRule.Infer, "Slice");
        registry.Add(TopK, "TopK");
        registry.Add(OneHot, "OneHot");
        registry.Add(NonZero, "NonZero");
        registry.Add(Compress, "Compress");
        registry.Add(Unique, "Unique");
    }

    private static void Gather(OperatorCall call)
    {
        Shape? result = null;
        if (call.ShapeOf(0) is Shape data)
        {
            int axis = call.Axis(call.Node.GetInt("axis", 0), data.Rank);
            result = call.ShapeOf(1) is Shape indices ? new Shape([.. data.Take(axis), .. indices, .. data.Skip(axis + 1)]) : null;
        }

        call.RequireType(1, DataType.Int64, DataType.Int32);
        call.Set(0, call.TypeOf(0), result);
    }

    private static void GatherElements(OperatorCall call)
    {
        call.RequireType(1, DataType.Int64, DataType.Int32);
        call.Set(0, call.TypeOf(0), call.ShapeOf(1));
    }

    private static void GatherNd(OperatorCall call)
    {
        call.RequireType(1, DataType.Int64);
        Shape? result = null;
        if (call.ShapeOf(0) is Shape data && call.ShapeOf(1) is { Rank: > 0 } indices && indices[^1].Value is long depth)
        {
            long covered = call.Node.GetInt("batch_dims", 0) + depth;
            if (covered > data.Rank)
            {
                throw call.Error($"its index vectors cover {covered} axes, but {call.Node.Inputs[0]} has rank {data.Rank}");
            }

            result = new Shape([.. indices.SkipLast(1), .. data.Skip((int)covered)]);
        }

        call.Set(0, call.TypeOf(0), result);
    }

    private static void Scatter(OperatorCall call)
    {
        call.CommonType(0, call.Node.Is("TensorScatter") ? 1 : 2);
        ElementwiseRules.LikeFirstInput(call);
    }

    private static void TopK(OperatorCall call)
    {
        Shape? result = null;
        if (call.ShapeOf(0) is Shape shape)
        {
            SymbolicExpression? k = call.HasAttribute("k") ? SymbolicExpression.Of(call.Node.GetInt("k", 1))
                : call.ContentOf(1) is { Count: 1 } content ? content[0]
                : null;
            result = shape.With(call.Axis(call.Node.GetInt("axis", -1), shape.Rank), k.ToDimensionOrUnknown());
        }

        call.Set(0, call.TypeOf(0), result);
        call.Set(1, DataType.Int64, result);
    }

    private static void OneHot(OperatorCall call)
    {
        Shape? result = null;
        if (call.ShapeOf(0) is Shape indices)
        {
            int axis = call.Axis(call.Node.GetInt("axis", -1), indices.Rank + 1);
            Dimension depth = call.ContentOf(1) is { Count: 1 } content ? content[0].ToDimensionOrUnknown() : Dimension.Unknown;
            result = new Shape([.. indices.Take(axis), depth, .. indices.Skip(axis)]);
        }

        call.Set(0, call.TypeOf(2), result);
    }

    private static void NonZero(OperatorCall call)
    {
        // ONNX and its runtime disagree on the rows for a scalar.
        Dimension rows = call.ShapeOf(0) is { Rank: > 0 } shape ? shape.Rank : Dimension.Unknown;
        call.Set(0, DataType.Int64, new Shape(rows, Dimension.Unknown));
    }

    private static void Compress(OperatorCall call)
    {
        call.Set(0, call.TypeOf(0), !call.HasAttribute("axis") ? new Shape(Dimension.Unknown)
            : call.ShapeOf(0) is Shape shape ? shape.With(call.Axis(call.Node.GetInt("axis", 0), shape.Rank), Dimension.Unknown)
            : null);
    }

    private static void Unique(OperatorCall call)
    {
        Shape unknown = new(Dimension.Unknown);
        call.Set(0, call.TypeOf(0), !call.HasAttribute("axis") ? unknown
            : call.ShapeOf(0) is Shape shape ? shape.With(call.Axis(call.Node.GetInt("axis", 0), shape.Rank), Dimension.Unknown)
            : null);
        for (int output = 1; output < 4; output++)
        {
            call.Set(output, DataType.Int64, unknown);
        }
    }
}
