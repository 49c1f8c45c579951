using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Rules of convolutions and pooling.</summary>
internal static class ConvolutionRules
{
    public static void Register(GradientRuleRegistry rules)
    {
        rules.Add("Conv", ConvGradient.Build);
        rules.Add("ConvTranspose", ConvTransposeGradient.Build);
        rules.Add("Resize", ResizeGradient.Build);
        rules.Add("MaxPool", MaxPool);
        rules.Add("AveragePool", AveragePoolGradient.Build);

        // y = mean of x over the spatial axes: dx = dy / n
        rules.Add("GlobalAveragePool", c =>
        {
            GraphBuilder b = c.Builder;
            Value x = c.Input(0);
            Dimension[] spatial = [.. x.Shape?.Skip(2) ?? []];
            Value share = x.Shape is not null && spatial.All(d => d.IsKnown)
                ? b.Mul(c.OutputGradient, 1.0 / spatial.Aggregate(1.0, (n, d) => n * d.Value!.Value))
                : b.Div(c.OutputGradient, b.Cast(b.Op("ReduceProd", [b.ShapeOf(x, 2, c.Rank(x))], ("keepdims", 0)), x.ElementType));
            return [c.ExpandLike(share, x)];
        });

        // y = max of x over the spatial axes: dx = dy / (number of elements equal to y) where x = y
        rules.Add("GlobalMaxPool", c =>
        {
            GraphBuilder b = c.Builder;
            Value x = c.Input(0);
            Value chosen = b.Cast(b.Compare("Equal", x, c.Output(0)), x.ElementType);
            long[] spatial = [.. Enumerable.Range(2, c.Rank(x) - 2).Select(i => (long)i)];
            return [b.Mul(chosen, b.Div(c.OutputGradient, b.ReduceSum(chosen, keepDims: true, spatial)))];
        });
    }

    // y, indices = max over windows; indices count elements of the whole x: dx = scatter_add(0, indices, dy). Windows may overlap.
    private static IReadOnlyList<Value?> MaxPool(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        if (c.Node.GetInt("storage_order", 0) != 0)
        {
            throw c.Unsupported("its storage_order is column-major", "Set storage_order to 0; it only concerns the numbering of the indices.");
        }

        Value x = c.Input(0);
        Value indices = c.RequireOutput(1, "indices", new OnnxType.Tensor(DataType.Int64, c.Output(0).Shape));
        Value shape = c.ShapeOf(x);
        Value size = b.Op("ReduceProd", [shape], ("keepdims", 1));
        Value zeros = b.Op("ConstantOfShape", [size], ("value", Constants.Filled(x.ElementType, 0)));
        Value sum = b.Op(
            "ScatterElements", [zeros, b.Reshape(indices, -1), b.Reshape(c.OutputGradient, -1)], ("axis", 0), ("reduction", "add"));
        Value dx = b.Op("Reshape", [sum, shape], ("allowzero", 1));
        dx.Type = x.Type;
        return [dx];
    }
}
