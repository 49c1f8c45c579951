using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Operators that make tensors from shapes, numbers or nothing.</summary>
internal static class CreationRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(ShapeOp, "Shape");
        registry.Add(Size, "Size");
        registry.Add(Range, "Range");
        registry.Add(ConstantOfShape, "ConstantOfShape");
        registry.Add(Constant, "Constant");
        registry.Add(LikeWithType, "EyeLike", "RandomNormalLike", "RandomUniformLike", "Bernoulli");
        registry.Add(Random, "RandomNormal", "RandomUniform");
        registry.Add(Multinomial, "Multinomial");
    }

    /// <summary>The dimensions that a Shape node hands out: all of them or <c>start</c> to <c>end</c>, which clamp.</summary>
    internal static IEnumerable<Dimension> SelectedDimensions(OperatorCall call, Shape shape)
    {
        int start = Clamp(call.Node.GetInt("start", 0), shape.Rank);
        int end = Clamp(call.Node.GetInt("end", shape.Rank), shape.Rank);
        return shape.Skip(start).Take(Math.Max(0, end - start));

        static int Clamp(long bound, int rank) => (int)Math.Clamp(bound < 0 ? bound + rank : bound, 0, rank);
    }

    /// <summary>The tensor that a Constant node holds, whichever attribute it uses; null for sparse tensors.</summary>
    /// <exception cref="GraphException">The node has no value attribute.</exception>
    internal static ITensor? ConstantTensor(Node node)
    {
        foreach ((string name, NodeAttribute attribute) in node.Attributes)
        {
            switch (name)
            {
                case "value":
                    return attribute.AsTensor();
                case "value_float":
                    return DenseTensor.Scalar(attribute.AsFloat());
                case "value_floats":
                    return DenseTensor.Vector([.. attribute.AsFloats()]);
                case "value_int":
                    return DenseTensor.Scalar(attribute.AsInt());
                case "value_ints":
                    return DenseTensor.Vector([.. attribute.AsInts()]);
                case "value_string":
                    return new StringTensor([], [attribute.AsBytes()]);
                case "value_strings":
                    ImmutableArray<ReadOnlyMemory<byte>> strings = attribute.AsStrings();
                    return new StringTensor([strings.Length], strings);
                case "sparse_value":
                    return null;
            }
        }

        throw new GraphException($"{node.Describe()} has no value; it needs one of the attributes value, value_float, value_floats, value_int, value_ints, value_string, value_strings.");
    }

    private static void ShapeOp(OperatorCall call) => call.Set(
        0, DataType.Int64, new Shape(call.ShapeOf(0) is Shape shape ? SelectedDimensions(call, shape).Count() : Dimension.Unknown));

    private static void Size(OperatorCall call) => call.Set(0, DataType.Int64, Shape.Scalar);

    private static void Range(OperatorCall call)
    {
        SymbolicExpression? start = Bound(0);
        SymbolicExpression? limit = Bound(1);
        SymbolicExpression? delta = Bound(2);
        SymbolicExpression? length = delta?.Constant switch
        {
            0 => throw call.Error("its delta is 0"),
            > 0 => SymbolicExpression.FloorDivide(limit - start + delta - SymbolicExpression.One, delta),
            < 0 => SymbolicExpression.FloorDivide(start - limit - delta - SymbolicExpression.One, -delta),
            _ => null,
        };
        call.Set(0, call.CommonType(0, 1, 2), new Shape(SymbolicExpression.Max(length, SymbolicExpression.Zero).ToDimensionOrUnknown()));

        SymbolicExpression? Bound(int input) => call.ContentOf(input) is { Count: 1 } content ? content[0] : null;
    }

    private static void ConstantOfShape(OperatorCall call)
    {
        DataType type = call.Node.Attributes.TryGetValue("value", out NodeAttribute? value) ? value.AsTensor().ElementType : DataType.Float;
        Shape? shape = call.ContentOf(0)?.ToShape();
        if (shape is null && call.ShapeOf(0) is [{ Value: long rank and >= 0 and <= SymbolicTensor.MaxElements }])
        {
            shape = new Shape(Enumerable.Repeat(Dimension.Unknown, (int)rank));
        }

        call.Set(0, type, shape);
    }

    private static void Constant(OperatorCall call)
    {
        if (ConstantTensor(call.Node) is ITensor tensor)
        {
            call.Set(0, tensor.ElementType, Shape.Of(tensor.Dims));
        }
    }

    private static void LikeWithType(OperatorCall call)
    {
        DataType type = ConversionRules.TypeAttribute(call, "dtype");
        call.Set(0, type == DataType.Undefined ? call.TypeOf(0) : type, call.ShapeOf(0));
    }

    private static void Random(OperatorCall call)
    {
        DataType type = ConversionRules.TypeAttribute(call, "dtype");
        call.Set(0, type == DataType.Undefined ? DataType.Float : type, call.Node.GetInts("shape") is long[] dims ? Shape.Of(dims) : null);
    }

    private static void Multinomial(OperatorCall call)
    {
        DataType type = ConversionRules.TypeAttribute(call, "dtype");
        Dimension batch = call.ShapeOf(0) is [var rows, _] ? rows : Dimension.Unknown;
        call.Set(0, type == DataType.Undefined ? DataType.Int32 : type, new Shape(batch, call.Node.GetInt("sample_size", 1)));
    }
}
