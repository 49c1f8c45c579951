using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Operators that work element by element, with or without broadcasting.</summary>
internal static class ElementwiseRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(
            LikeFirstInput,
            "Abs", "Neg", "Sqrt", "Reciprocal", "Exp", "Log", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh",
            "Acosh", "Atanh", "Erf", "Tanh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "HardSwish",
            "Swish", "Gelu", "Softplus", "Softsign", "Mish", "ThresholdedRelu", "Shrink", "Clip", "Identity", "Floor", "Ceil", "Round",
            "Sign", "BitwiseNot", "CumSum", "CumProd", "Trilu", "ReverseSequence");
        registry.Add(FloatToBool, "IsNaN", "IsInf");
        registry.Add(Not, "Not");
        registry.Add(Arithmetic, "Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Sum", "Mean", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift");
        registry.Add(Pow, "Pow");
        registry.Add(PRelu, "PRelu");
        registry.Add(Comparison, "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual");
        registry.Add(Logic, "And", "Or", "Xor");
        registry.Add(Where, "Where");
        registry.Add(Dropout, "Dropout");
    }

    /// <summary>Output 0 has the type and shape of input 0.</summary>
    internal static void LikeFirstInput(OperatorCall call) => call.Set(0, call.TypeOf(0), call.ShapeOf(0));

    private static void FloatToBool(OperatorCall call) => call.Set(0, DataType.Bool, call.ShapeOf(0));

    private static void Not(OperatorCall call)
    {
        call.RequireType(0, DataType.Bool);
        call.Set(0, DataType.Bool, call.ShapeOf(0));
    }

    private static void Arithmetic(OperatorCall call)
    {
        int[] inputs = [.. Enumerable.Range(0, call.Node.Inputs.Count)];
        call.Set(0, call.CommonType(inputs), DimensionAlgebra.Broadcast(call, inputs));
    }

    // The exponent may have a type of its own.
    private static void Pow(OperatorCall call) => call.Set(0, call.TypeOf(0), DimensionAlgebra.Broadcast(call, 0, 1));

    // The slope broadcasts to the input, never the other way round.
    private static void PRelu(OperatorCall call) => call.Set(0, call.CommonType(0, 1), call.ShapeOf(0));

    private static void Comparison(OperatorCall call)
    {
        call.CommonType(0, 1);
        call.Set(0, DataType.Bool, DimensionAlgebra.Broadcast(call, 0, 1));
    }

    private static void Logic(OperatorCall call)
    {
        call.RequireType(0, DataType.Bool);
        call.RequireType(1, DataType.Bool);
        call.Set(0, DataType.Bool, DimensionAlgebra.Broadcast(call, 0, 1));
    }

    private static void Where(OperatorCall call)
    {
        call.RequireType(0, DataType.Bool);
        call.Set(0, call.CommonType(1, 2), DimensionAlgebra.Broadcast(call, 0, 1, 2));
    }

    private static void Dropout(OperatorCall call)
    {
        LikeFirstInput(call);
        call.Set(1, call.Opset < 10 ? call.TypeOf(0) : DataType.Bool, call.ShapeOf(0));
    }
}
