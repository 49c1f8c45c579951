using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Changes of element type: casts and quantization.</summary>
internal static class ConversionRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(Cast, "Cast");
        registry.Add(CastLike, "CastLike");
        registry.Add(QuantizeLinear, "QuantizeLinear");
        registry.Add(DequantizeLinear, "DequantizeLinear");
        registry.Add(DynamicQuantizeLinear, "DynamicQuantizeLinear");
        registry.AddTo(OperatorDomains.Microsoft, QuantizeLinear, "QuantizeLinear");
        registry.AddTo(OperatorDomains.Microsoft, DequantizeLinear, "DequantizeLinear");
    }

    /// <summary>The element type that an integer attribute names; Undefined if it is left out or 0.</summary>
    /// <exception cref="GraphException">The number names no type.</exception>
    internal static DataType TypeAttribute(OperatorCall call, string name)
    {
        DataType type = (DataType)call.Node.GetInt(name, 0);
        return Enum.IsDefined(type) ? type : throw call.Error($"attribute '{name}' is {(int)type}, which names no element type");
    }

    private static void Cast(OperatorCall call)
    {
        DataType type = TypeAttribute(call, "to");
        if (type == DataType.Undefined)
        {
            throw call.Error("attribute 'to' is missing; give the element type to convert to");
        }

        call.Set(0, type, call.ShapeOf(0));
    }

    private static void CastLike(OperatorCall call) => call.Set(0, call.TypeOf(1), call.ShapeOf(0));

    private static void QuantizeLinear(OperatorCall call)
    {
        DataType type = call.TypeOf(2) is DataType zeroPoint and not DataType.Undefined ? zeroPoint : TypeAttribute(call, "output_dtype");
        call.Set(0, type == DataType.Undefined && !call.HasInput(2) ? DataType.UInt8 : type, call.ShapeOf(0));
    }

    private static void DequantizeLinear(OperatorCall call)
    {
        DataType type = TypeAttribute(call, "output_dtype");
        call.Set(0, type == DataType.Undefined ? call.TypeOf(1) : type, call.ShapeOf(0));
    }

    private static void DynamicQuantizeLinear(OperatorCall call)
    {
        call.Set(0, DataType.UInt8, call.ShapeOf(0));
        call.Set(1, DataType.Float, Shape.Scalar);
        call.Set(2, DataType.UInt8, Shape.Scalar);
    }
}
