using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Tests.Evaluation.OrtCases.Draw;

namespace OrtQLoRA.Graph.Tests.Evaluation.OrtCases;

internal static class ElementwiseCases
{
    private static readonly DataType[] Arithmetic = [DataType.Float, DataType.Double, DataType.Int64, DataType.Int32];

    public static IEnumerable<OrtCase> All() => [.. Unary(), .. Binary(), .. Variadic(), .. Logic(), .. Activations(), .. Conversions()];

    private static IEnumerable<OrtCase> Unary()
    {
        foreach (long[] dims in AnyShape)
        {
            foreach (string opType in new[] { "Exp", "Erf", "Sin", "Cos", "Sinh", "Cosh", "Tanh", "Asinh", "Floor", "Ceil", "Round", "Atan" })
            {
                yield return new(opType, [Floats(dims)]);
            }

            foreach (string opType in new[] { "Sqrt", "Log", "Reciprocal", "Tan" })
            {
                yield return new(opType, [Floats(dims, 0.1, 1.4)]);
            }

            foreach (string opType in new[] { "Asin", "Acos", "Atanh" })
            {
                yield return new(opType, [Floats(dims, -0.9, 0.9)]);
            }

            yield return new("Acosh", [Floats(dims, 1.1, 5)]);
            foreach (DataType type in new[] { DataType.Float, DataType.Double, DataType.Int64, DataType.Int32, DataType.Int8 })
            {
                yield return new("Neg", [Any(type, dims)]);
                yield return new("Abs", [Any(type, dims)]);
                yield return new("Sign", [Any(type, dims)]);
            }

            yield return new("BitwiseNot", [Int64(dims)]);
            yield return new("Identity", [Floats(dims)]);
        }

        foreach (string opType in new[] { "Exp", "Sqrt", "Log", "Tanh", "Sin", "Cos", "Reciprocal" })
        {
            yield return new(opType, [Floats(DataType.Double, [3, 5], 0.1, 3)]) { Tolerance = 1e-14 };
        }

        yield return new("Round", [NodeRunner.F([5], -2.5, -0.5, 0.5, 1.5, 2.5)]) { Note = "halves" };
    }

    private static IEnumerable<OrtCase> Binary()
    {
        foreach ((long[] a, long[] b) in Broadcasting)
        {
            foreach (DataType type in Arithmetic)
            {
                yield return new("Add", [Any(type, a), Any(type, b, 2)]);
                yield return new("Sub", [Any(type, a), Any(type, b, 2)]);
                yield return new("Mul", [Any(type, a), Any(type, b, 2)]);
                yield return new("Div", [Any(type, a), Positive(type, b)]);
            }

            yield return new("Mod", [Int64(a), Integers(DataType.Int64, b, 1, 5, 2)]);
            yield return new("Mod", [Int64(a), Integers(DataType.Int64, b, -5, -1, 2)]);
            yield return new("Mod", [Int64(a), Integers(DataType.Int64, b, -5, -1, 2)], ("fmod", 1));
            yield return new("Mod", [Floats(a), Floats(b, 0.5, 2, 2)], ("fmod", 1));
            yield return new("Pow", [Floats(a, 0.1, 3), Floats(b, seed: 2)]);
            yield return new("Pow", [Floats(a), Integers(DataType.Int64, b, 0, 3, 2)]);
            yield return new("Pow", [Int64(a), Integers(DataType.Int64, b, 0, 3, 2)]);
            yield return new("PRelu", [Floats([.. b, .. a]), Floats(a, seed: 2)]);
            yield return new("BitwiseAnd", [Int64(a), Int64(b, seed: 2)]);
            yield return new("BitwiseOr", [Int64(a), Int64(b, seed: 2)]);
            yield return new("BitwiseXor", [Int64(a), Int64(b, seed: 2)]);
            foreach (string direction in new[] { "LEFT", "RIGHT" })
            {
                yield return new("BitShift", [Integers(DataType.UInt32, a, 0, 99), Integers(DataType.UInt32, b, 0, 7, 2)], ("direction", direction));
            }
        }
    }

    private static ReferenceTensor Positive(DataType type, long[] dims) =>
        type.IsFloatingPoint() ? Floats(type, dims, 0.5, 2, 2) : Integers(type, dims, 1, 4, 2);

    private static IEnumerable<OrtCase> Variadic()
    {
        foreach ((long[] a, long[] b) in Broadcasting)
        {
            foreach (string opType in new[] { "Max", "Min" })
            {
                yield return new(opType, [Floats(a), Floats(b, seed: 2), Floats(a, seed: 3)]);
                yield return new(opType, [Int64(a), Int64(b, seed: 2)]);
            }

            yield return new("Sum", [Floats(a), Floats(b, seed: 2), Floats(a, seed: 3)]);
            yield return new("Mean", [Floats(a), Floats(b, seed: 2), Floats(a, seed: 3)]);
        }

        ReferenceTensor nan = NodeRunner.F([4], double.NaN, 1, double.PositiveInfinity, double.NaN);
        ReferenceTensor other = NodeRunner.F([4], 1, double.NaN, 2, double.NaN);
        yield return new("Max", [nan, other]) { Note = "NaN" };
        yield return new("Min", [nan, other]) { Note = "NaN" };
        yield return new("Max", [Integers(DataType.UInt64, [3], -2, -1), Integers(DataType.UInt64, [3], 1, 5)]) { Note = "beyond int64" };
    }

    private static IEnumerable<OrtCase> Logic()
    {
        foreach ((long[] a, long[] b) in Broadcasting)
        {
            foreach (string opType in new[] { "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual" })
            {
                yield return new(opType, [Integers(DataType.Int64, a, 0, 2), Integers(DataType.Int64, b, 0, 2, 2)]);
                yield return new(opType, [Floats(a), Floats(b, seed: 2)]);
            }

            yield return new("Equal", [Bools(a), Bools(b, 2)]);
            yield return new("And", [Bools(a), Bools(b, 2)]);
            yield return new("Or", [Bools(a), Bools(b, 2)]);
            yield return new("Xor", [Bools(a), Bools(b, 2)]);
            yield return new("Where", [Bools(a, 3), Floats(b), Floats(a, seed: 2)]);
            yield return new("Where", [Bools(b, 3), Int64(a), Int64(b, seed: 2)]);
        }

        foreach (long[] dims in AnyShape)
        {
            yield return new("Not", [Bools(dims)]);
        }

        ReferenceTensor special = NodeRunner.F([5], double.NaN, 1, double.PositiveInfinity, double.NegativeInfinity, -0.0);
        yield return new("IsNaN", [special]);
        yield return new("IsInf", [special]);
        yield return new("IsInf", [special], ("detect_negative", 0));
        yield return new("IsInf", [special], ("detect_positive", 0));
        yield return new("Less", [special, NodeRunner.F([], 1)]) { Note = "NaN" };
        yield return new("GreaterOrEqual", [special, special]) { Note = "NaN" };
        yield return new("Equal", [special, special]) { Note = "NaN" };
    }

    private static IEnumerable<OrtCase> Activations()
    {
        foreach (long[] dims in AnyShape)
        {
            ReferenceTensor x = Floats(dims, -5, 5);
            foreach (string opType in new[] { "Sigmoid", "Softplus", "Softsign", "Mish", "HardSwish", "LeakyRelu", "Elu", "Celu", "ThresholdedRelu", "Selu", "HardSigmoid", "Relu", "Gelu" })
            {
                yield return new(opType, [x]);
            }

            yield return new("Gelu", [x], ("approximate", "tanh"));
            yield return new("LeakyRelu", [x], ("alpha", 0.3f));
            yield return new("Elu", [x], ("alpha", 0.3f));
            yield return new("Celu", [x], ("alpha", 0.3f));
            yield return new("ThresholdedRelu", [x], ("alpha", 0.3f));
            yield return new("Swish", [x], ("alpha", 1.5f)) { Opset = 24 };
            yield return new("Selu", [x], ("alpha", 0.3f), ("gamma", 2f));
            yield return new("HardSigmoid", [x], ("alpha", 0.3f), ("beta", 0.1f));
            yield return new("Clip", [x, Scalar(-1.0), Scalar(1.0)]);
            yield return new("Clip", [x, null, Scalar(1.0)]);
            yield return new("Clip", [x, Scalar(1.0), Scalar(-1.0)]) { Note = "crossed" };
            yield return new("Clip", [Int64(dims), Scalar(-3L), Scalar(3L)]);
            yield return new("Clip", [x], ("min", -1f), ("max", 2f)) { Opset = 6 };
            yield return new("Gelu", [x]) { Domain = "com.microsoft" };
            yield return new("QuickGelu", [x], ("alpha", 1.5f)) { Domain = "com.microsoft" };
        }

        yield return new("Relu", [Integers(DataType.Int32, [5])]);
        yield return new("FastGelu", [Floats([2, 3, 4]), Floats([4], seed: 2)]) { Domain = "com.microsoft" };
        yield return new("FastGelu", [Floats([2, 3, 4])]) { Domain = "com.microsoft" };
        yield return new("BiasGelu", [Floats([2, 3, 4]), Floats([4], seed: 2)]) { Domain = "com.microsoft" };
        yield return new("Dropout", [Floats([3, 4])]);
        yield return new("Dropout", [Floats([3, 4]), Scalar(0.5), NodeRunner.B([], false)]) { Outputs = 2 };
    }

    private static IEnumerable<OrtCase> Conversions()
    {
        DataType[] types =
        [
            DataType.Float, DataType.Double, DataType.Float16, DataType.BFloat16, DataType.Int8, DataType.UInt8, DataType.Int16, DataType.UInt16,
            DataType.Int32, DataType.UInt32, DataType.Int64, DataType.UInt64, DataType.Bool,
        ];
        foreach (DataType from in types)
        {
            foreach (DataType to in types)
            {
                ReferenceTensor x = from.IsFloatingPoint() ? Floats(from, [2, 9], 0, 100) : Integers(from, [2, 9], 0, 100);
                yield return new("Cast", [x], ("to", (long)to)) { Note = $"to {to.OnnxName()}", Tolerance = 0 };
            }
        }

        yield return new("Cast", [Int64([50], int.MinValue, int.MaxValue - 1)], ("to", (long)DataType.Int8)) { Note = "wraps" };
        ReferenceTensor large = ReferenceTensor.Int64Vector((1L << 24) + 1, (1L << 54) + (1L << 30) + 1, -(1L << 62) - 1, long.MaxValue);
        yield return new("Cast", [large], ("to", (long)DataType.Float)) { Note = "rounds once", Tolerance = 0 };
        yield return new("Cast", [Floats(DataType.Double, [100], -1e-4, 1e-4)], ("to", (long)DataType.Float16)) { Note = "subnormal", Tolerance = 0 };
        yield return new("Cast", [Floats(DataType.Double, [100], -1e6, 1e6)], ("to", (long)DataType.Float16)) { Note = "overflow", Tolerance = 0 };
        yield return new("Cast", [Floats(DataType.Float, [100], -1e6, 1e6)], ("to", (long)DataType.BFloat16)) { Note = "wide", Tolerance = 0 };
        yield return new("Cast", [NodeRunner.F([3], double.NaN, double.PositiveInfinity, -0.0)], ("to", (long)DataType.BFloat16)) { Note = "special" };
        yield return new("CastLike", [Floats([3, 2], -9, 9), Int64([1])]);
        yield return new("Add", [Floats(DataType.Float16, [40]), Floats(DataType.Float16, [40], seed: 2)]) { Note = "float16", Tolerance = 0 };
        yield return new("Mul", [Floats(DataType.Float16, [40]), Floats(DataType.Float16, [40], seed: 2)]) { Note = "float16", Tolerance = 0 };
    }
}
