using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Resampling of images.</summary>
internal static class ResizeRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(call => Resize(call, call.Opset < 11 ? 1 : 2, 3), "Resize");
        registry.Add(call => Resize(call, 1, -1), "Upsample");
    }

    private static void Resize(OperatorCall call, int scalesInput, int sizesInput)
    {
        if (call.ShapeOf(0) is not Shape shape)
        {
            call.Set(0, call.TypeOf(0), null);
            return;
        }

        int[] axes = call.Node.GetInts("axes") is long[] given ? call.Axes(given, shape.Rank) : [.. Enumerable.Range(0, shape.Rank)];
        bool stretch = call.Node.GetString("keep_aspect_ratio_policy", "stretch") == "stretch";
        SymbolicTensor? sizes = sizesInput >= 0 && call.HasInput(sizesInput) ? call.ContentOf(sizesInput) : null;
        float[]? scales = Scales(call, scalesInput);
        Dimension[] dims = [.. shape];
        for (int i = 0; i < axes.Length; i++)
        {
            dims[axes[i]] = !stretch ? Dimension.Unknown
                : sizes is not null && i < sizes.Count ? sizes[i].ToDimensionOrUnknown()
                : scales is not null && i < scales.Length ? Scaled(dims[axes[i]], scales[i])
                : Dimension.Unknown;
        }

        call.Set(0, call.TypeOf(0), new Shape(dims));
    }

    private static float[]? Scales(OperatorCall call, int input) =>
        call.Node.Attributes.TryGetValue("scales", out NodeAttribute? attribute) ? [.. attribute.AsFloats()]
        : call.Node.InputOrNull(input) is { IsConstant: true, Initializer: ITensor { ElementType: DataType.Float } tensor } && tensor.Dims is [> 0 and <= 16] ? tensor.ToFloats()
        : null;

    private static Dimension Scaled(Dimension dimension, float scale) =>
        dimension.Value is long size ? (long)MathF.Floor(size * scale)
        : scale == MathF.Floor(scale) && MathF.Abs(scale) < 1 << 20 ? (dimension.ToExpression() * SymbolicExpression.Of((long)scale)).ToDimensionOrUnknown()
        : Dimension.Unknown;
}
