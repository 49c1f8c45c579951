using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>ONNX Runtime's contributed operators other than attention, as its graph optimizer and model builder write them.</summary>
internal static class ContribRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.AddTo(OperatorDomains.Microsoft, ElementwiseRules.LikeFirstInput, "Gelu", "FastGelu", "QuickGelu", "BiasGelu");
        registry.AddTo(OperatorDomains.Microsoft, SkipNormalization, "SkipLayerNormalization", "SkipSimplifiedLayerNormalization");
        registry.AddTo(OperatorDomains.Microsoft, EmbedLayerNormalization, "EmbedLayerNormalization");
        registry.AddTo(OperatorDomains.Microsoft, MatMulNBits, "MatMulNBits", "MatMulBnb4");
        registry.AddTo(OperatorDomains.Microsoft, FusedMatMul, "FusedMatMul");
        registry.AddTo(OperatorDomains.Microsoft, DynamicQuantizeMatMul, "DynamicQuantizeMatMul");
        registry.AddTo(OperatorDomains.Microsoft, MatMulIntegerToFloat, "MatMulIntegerToFloat");
        registry.AddTo(OperatorDomains.Microsoft, GatherBlockQuantized, "GatherBlockQuantized");
    }

    // Output 3 is the sum of input, skip and bias; outputs 1 and 2 are the statistics.
    private static void SkipNormalization(OperatorCall call)
    {
        Shape? shape = call.ShapeOf(0);
        Shape? statistics = shape?.With(shape.Rank - 1, 1);
        call.Set(0, call.TypeOf(0), shape);
        call.Set(1, DataType.Float, statistics);
        call.Set(2, DataType.Float, statistics);
        call.Set(3, call.TypeOf(0), shape);
    }

    // input_ids [batch, sequence], word embedding [vocabulary, hidden].
    private static void EmbedLayerNormalization(OperatorCall call)
    {
        Shape? ids = call.ShapeOf(0);
        Shape? embedded = ids is not null && call.ShapeOf(2) is [_, var hidden] ? new Shape([.. ids, hidden]) : null;
        call.Set(0, call.TypeOf(2), embedded);
        call.Set(1, DataType.Int32, new Shape(ids is { Rank: > 0 } ? ids[0] : Dimension.Unknown));
        call.Set(2, call.TypeOf(2), embedded);
    }

    private static void MatMulNBits(OperatorCall call)
    {
        Shape? input = call.ShapeOf(0);
        if (input is { Rank: > 0 } && call.HasAttribute("K"))
        {
            call.RequireEqual(input[^1], call.Node.GetInt("K", 0), "the last dimension of the input and attribute 'K'");
        }

        call.Set(0, call.TypeOf(0), input?.With(input.Rank - 1, call.Node.GetInt("N", 0)));
    }

    private static void FusedMatMul(OperatorCall call)
    {
        Shape? left = Transposed(call.ShapeOf(0), call.Node.GetInt("transA", 0) != 0, call.Node.GetInt("transBatchA", 0) != 0);
        Shape? right = Transposed(call.ShapeOf(1), call.Node.GetInt("transB", 0) != 0, call.Node.GetInt("transBatchB", 0) != 0);
        call.Set(0, call.CommonType(0, 1), MatrixRules.ProductShape(call, left, right));
    }

    // transBatch moves axis 0 behind the other batch axes; trans swaps the last two.
    private static Shape? Transposed(Shape? shape, bool matrix, bool batch)
    {
        if (shape is null || shape.Rank < 2)
        {
            return shape;
        }

        List<Dimension> dims = [.. shape];
        if (batch)
        {
            dims.Insert(dims.Count - 1, dims[0]);
            dims.RemoveAt(0);
        }

        if (matrix)
        {
            (dims[^1], dims[^2]) = (dims[^2], dims[^1]);
        }

        return new Shape(dims);
    }

    private static void DynamicQuantizeMatMul(OperatorCall call) =>
        call.Set(0, call.TypeOf(0), MatrixRules.ProductShape(call, call.ShapeOf(0), call.ShapeOf(1)));

    private static void MatMulIntegerToFloat(OperatorCall call) =>
        call.Set(0, call.TypeOf(2), MatrixRules.ProductShape(call, call.ShapeOf(0), call.ShapeOf(1)));

    // 4-bit data in uint8 holds two elements a byte along the last axis.
    private static void GatherBlockQuantized(OperatorCall call)
    {
        Shape? result = null;
        if (call.ShapeOf(0) is { Rank: > 0 } data && call.ShapeOf(1) is Shape indices)
        {
            long packed = call.TypeOf(0) == DataType.UInt8 ? 8 / Math.Max(call.Node.GetInt("bits", 4), 1) : 1;
            Shape unpacked = data.With(data.Rank - 1, (data[^1].ToExpression() * SymbolicExpression.Of(packed)).ToDimensionOrUnknown());
            int axis = call.Axis(call.Node.GetInt("gather_axis", 0), data.Rank);
            result = new Shape([.. unpacked.Take(axis), .. indices, .. unpacked.Skip(axis + 1)]);
        }

        call.Set(0, call.TypeOf(2), result);
    }
}
