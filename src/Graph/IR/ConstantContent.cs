namespace OrtQLoRA.Graph.IR;

/// <summary>Reads values whose content is fixed: initializers and outputs of <c>Constant</c> nodes.</summary>
internal static class ConstantContent
{
    /// <summary>The content, or null if the value is not constant.</summary>
    public static ITensor? Of(Value? value) => value is null || (value.Initializer is not null && value.IsGraphInput) ? null : DefaultOf(value);

    /// <summary>
    /// The content, or null if the value is computed or fed. Other than with <see cref="Of"/> an initializer that is listed as
    /// a graph input too (old exporters list all of them) counts: it is the default, and the caller who feeds it overrides it.
    /// </summary>
    public static ITensor? DefaultOf(Value? value) =>
        value?.Initializer ?? (value?.Producer is { } producer && producer.Is("Constant") ? OfNode(producer) : null);

    /// <summary>The number in a constant float tensor of exactly one element, as <see cref="DefaultOf"/> reads it; null if the value is no such constant.</summary>
    public static float? DefaultScalar(Value? value) =>
        DefaultOf(value) is { } content && content.ElementType.IsFloatingPoint() && content.ElementCount() == 1 ? content.ToFloats()[0] : null;

    /// <summary>The integers of a constant integer tensor, row-major; null if the value is not constant.</summary>
    public static long[]? Int64s(Value? value) => Of(value) is { } content && IsIntegral(content.ElementType) ? content.ToInt64s() : null;

    /// <summary>The number in a constant tensor of exactly one element; null if the value is no such constant.</summary>
    public static double? Number(Value? value)
    {
        ITensor? content = Of(value);
        if (content is null || content.ElementCount() != 1)
        {
            return null;
        }

        return content.ElementType == DataType.Double ? content.ToArray<double>()[0]
            : content.ElementType.IsFloatingPoint() ? content.ToFloats()[0]
            : IsIntegral(content.ElementType) ? content.ToInt64s()[0]
            : null;
    }

    private static ITensor? OfNode(Node constant)
    {
        foreach ((string name, NodeAttribute attribute) in constant.Attributes)
        {
            switch (name)
            {
                case "value":
                    return attribute.AsTensor();
                case "value_int":
                    return DenseTensor.Scalar(attribute.AsInt());
                case "value_ints":
                    return DenseTensor.Vector(attribute.AsInts().ToArray());
                case "value_float":
                    return DenseTensor.Scalar(attribute.AsFloat());
                case "value_floats":
                    return DenseTensor.Vector(attribute.AsFloats().ToArray());
                default:
                    break;
            }
        }

        return null;
    }

    private static bool IsIntegral(DataType type) => type.IsInteger() || type == DataType.Bool;
}
