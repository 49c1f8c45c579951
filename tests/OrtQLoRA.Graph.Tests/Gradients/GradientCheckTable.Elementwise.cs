using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit.Gradients;
using static OrtQLoRA.TestKit.Gradients.GradientInput;

namespace OrtQLoRA.Graph.Tests.Gradients;

internal static partial class GradientCheckTable
{
    private static IEnumerable<GradientRow> Elementwise()
    {
        foreach (string op in new[] { "Add", "Sub", "Mul", "Div" })
        {
            yield return new(op, "same shape", [Normal(2, 3), OffZero(2, 3)]);
            yield return new(op, "second broadcast", [Normal(3, 1, 5), OffZero(5)]);
            yield return new(op, "both broadcast", [Normal(3, 1, 5), OffZero(1, 4, 1)]);
            yield return new(op, "first smaller", [Normal(7), OffZero(2, 1, 7)]);
            yield return new(op, "scalar", [Normal(), OffZero(2, 3)]);
            yield return new(op, "two scalars", [Normal(), OffZero()]);
            yield return new(op, "empty", [Normal(0, 3), OffZero(1, 3)]);
            yield return new(op, "one value twice", [OffZero(2, 3), Same(0)]);
            yield return new(op, "constant", [Normal(4, 3), OffZero(3).AsConstant().NotDifferentiated()]);
        }

        foreach (double p in new[] { 0, 1, 2, 3, 0.5, -0.5, -1, 1.7 })
        {
            yield return new("Pow", $"constant exponent {p}", [Between(0.3, 2, 3, 5), Floats([], p).AsConstant().NotDifferentiated()]);
        }

        yield return new("Pow", "whole exponent", [OffZero(3, 5), Ints([], 3)]);
        yield return new("Pow", "exponent of rank 1", [OffZero(3, 5), Floats([1], 2).AsConstant().NotDifferentiated()]);
        yield return new("Pow", "exponent tensor", [Between(0.3, 2, 3, 5), Between(-2, 2, 5)]);
        yield return new("Pow", "base broadcast", [Between(0.3, 2, 1, 5), Between(-2, 2, 4, 1)]);
        yield return new("Pow", "exponent with zeros", [Between(0.3, 2, 3), Floats([3], 0, 1, 2).NotDifferentiated()]);

        yield return new("Sum", "three broadcast", [Normal(2, 3), Normal(3), Normal(2, 1)]);
        yield return new("Sum", "one", [Normal(2, 3)]);
        yield return new("Mean", "three broadcast", [Normal(2, 3), Normal(3), Normal(2, 1)]);
        yield return new("Mod", "fmod", [Floats([4], 5.3, -7.1, 2.2, 9.4), Floats([4], 2, 3, -1.5, 4)], ("fmod", 1L));
        yield return new("Mod", "fmod broadcast", [Floats([4], 5.3, -7.1, 2.2, 9.4), Floats([1], 2)], ("fmod", 1L));

        yield return new("Neg", "vector", [Normal(5)]);
        yield return new("Abs", "off zero", [OffZero(3, 5)]);
        yield return new("Sqrt", "positive", [Between(0.2, 3, 3, 5)]);
        yield return new("Reciprocal", "off zero", [OffZero(3, 5)]);
        yield return new("Exp", "scalar", [Normal()]);
        yield return new("Exp", "empty", [Normal(2, 0)]);
        yield return new("Log", "positive", [Between(0.2, 3, 3, 5)]);
        yield return new("Erf", "both tails", [Between(-3, 3, 3, 5)]);
        foreach (string op in new[] { "Sin", "Cos", "Sinh", "Cosh", "Tanh", "Atan", "Asinh" })
        {
            yield return new(op, "any", [Normal(3, 5)]);
        }

        yield return new("Tan", "between poles", [Between(-1.3, 1.3, 3, 5)]);
        foreach (string op in new[] { "Asin", "Acos", "Atanh" })
        {
            yield return new(op, "inside", [Between(-0.9, 0.9, 3, 5)]);
        }

        yield return new("Acosh", "above one", [Between(1.2, 3, 3, 5)]);
    }

    private static IEnumerable<GradientRow> Activations()
    {
        foreach (string op in new[] { "Sigmoid", "Relu", "LeakyRelu", "ThresholdedRelu", "Elu", "Selu", "Celu", "HardSigmoid", "HardSwish", "Softplus", "Softsign", "Mish" })
        {
            yield return new(op, "default", [op == "ThresholdedRelu" ? Floats([4], 0.4, 1.7, -2, 3) : OffZero(3, 5)]);
            yield return new(op, "empty", [OffZero(0, 5)]);
        }

        yield return new("LeakyRelu", "alpha", [OffZero(3, 5)], ("alpha", 0.3f));
        yield return new("Elu", "alpha", [OffZero(3, 5)], ("alpha", 0.7f));
        yield return new("Selu", "alpha and gamma", [OffZero(3, 5)], ("alpha", 1.5f), ("gamma", 2f));
        yield return new("Celu", "alpha", [OffZero(3, 5)], ("alpha", 0.7f));
        yield return new("HardSigmoid", "alpha and beta", [Floats([5], -4, -1, 0.2, 1.5, 5)], ("alpha", 1f / 6), ("beta", 0.5f));
        yield return new("HardSwish", "all pieces", [Floats([5], -4, -1, 0.2, 1.5, 5)]);
        yield return new("ThresholdedRelu", "alpha", [Floats([4], 0.4, 1.7, -2, 3)], ("alpha", 0.2f));
        yield return new("Gelu", "erf", [Normal(3, 5)]) { OtherOpsets = [24] };
        yield return new("Gelu", "tanh", [Normal(3, 5)], ("approximate", "tanh")) { OtherOpsets = [24] };
        yield return new("Gelu", "empty", [Normal(0, 5)]) { OtherOpsets = [24] };
        yield return new("Swish", "opset 24", [Normal(3, 5)]) { Opset = 24 };
        yield return new("Swish", "alpha", [Normal(3, 5)], ("alpha", 1.7f)) { Opset = 24 };
        yield return new("PRelu", "slope per channel", [OffZero(2, 3, 4), Normal(3, 1)]);
        yield return new("PRelu", "one slope", [OffZero(2, 3), Normal(1)]);
    }

    private static IEnumerable<GradientRow> Selections()
    {
        bool[] bits = [true, false, true, true, false, false];
        yield return new("Where", "same shape", [Bools([2, 3], bits), Normal(2, 3), Normal(2, 3)]);
        yield return new("Where", "condition broadcast", [Bools([2, 1], true, false), Normal(2, 3), Normal(3)]);
        yield return new("Where", "scalar branch", [Bools([2, 3], bits), Normal(), Normal(2, 3)]);
        yield return new("Where", "same branches", [Bools([2, 3], bits), Normal(2, 3), Same(1)]);
        yield return new("Clip", "both bounds", [Floats([5], -2, -0.5, 0.3, 0.8, 4), Floats([], -1), Floats([], 1.5)]);
        yield return new("Clip", "lower only", [Floats([3], -2, 0.3, 4), Floats([], 0.5)]);
        yield return new("Clip", "upper only", [Floats([3], -2, 0.3, 4), null, Floats([], 0.5)]);
        yield return new("Clip", "no bounds", [Normal(3)]);
        foreach (string op in new[] { "Max", "Min" })
        {
            yield return new(op, "one", [Normal(3)]);
            yield return new(op, "two broadcast", [Floats([2, 3], 1, 5, -2, 4, 0.5, 7), Floats([3], 2, 4, -3)]);
            yield return new(op, "three", [Floats([3], 1, 5, -2), Floats([3], 2, 4, -3), Floats([], 3)]);
        }

        yield return new("Cast", "no change", [Normal(3)], ("to", (long)DataType.Double)) { NotOnOrt = "the output would be double" };
        yield return new("CastLike", "no change", [Normal(3), Normal(1).NotDifferentiated()]);
        yield return new("Identity", "vector", [Normal(3)]);
        yield return new("Dropout", "inference", [Normal(3, 4)]);
        yield return new("Dropout", "inference by flag", [Normal(3, 4), Floats([], 0.4).AsConstant().NotDifferentiated(), Integers(DataType.Bool, [], 0)]);
        yield return new("Dropout", "training", [Normal(3, 4), Floats([], 0.4).AsConstant().NotDifferentiated(), Integers(DataType.Bool, [], 1)]) { NotOnOrt = "other random numbers" };
        yield return new("Dropout", "ratio fed", [Normal(3, 4), Floats([], 0.4).NotDifferentiated(), Integers(DataType.Bool, [], 1)]) { NotOnOrt = "other random numbers" };
        yield return new("Dropout", "flag fed", [Normal(3, 4), null, Bools([], true)]) { NotOnOrt = "other random numbers" };
        yield return new("DequantizeLinear", "one scale", [Integers(DataType.Int8, [2, 3], 1, -2, 3, 4, 5, -6), Between(0.1, 0.5), Integers(DataType.Int8, [], 2)]);
        yield return new("DequantizeLinear", "per axis", [Integers(DataType.UInt8, [2, 3], 1, 2, 3, 4, 5, 6), Between(0.1, 0.5, 3), Integers(DataType.UInt8, [3], 2, 0, 1)], ("axis", 1L));
    }
}
