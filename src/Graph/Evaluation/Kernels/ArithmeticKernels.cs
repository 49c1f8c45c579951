using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Arithmetic of one, two and any number of tensors, on floating-point numbers and integers.</summary>
internal static class ArithmeticKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("Add", c => Binary(c, (a, b) => a + b, (_, a, b) => a + b));
        registry.Add("Sub", c => Binary(c, (a, b) => a - b, (_, a, b) => a - b));
        registry.Add("Mul", c => Binary(c, (a, b) => a * b, (_, a, b) => a * b));
        registry.Add("Div", c => Binary(c, (a, b) => a / b, IntegerMath.Divide));
        registry.Add("Mod", Mod);
        registry.Add("Pow", Pow);
        registry.Add("PRelu", c => Binary(c, (x, slope) => x < 0 ? slope * x : x, (_, x, slope) => x < 0 ? slope * x : x));

        registry.Add("Max", c => Variadic(c, Math.Max, IntegerMath.Max));
        registry.Add("Min", c => Variadic(c, Math.Min, IntegerMath.Min));
        registry.Add("Sum", c => Variadic(c, (a, b) => a + b, (_, a, b) => a + b));
        registry.Add("Mean", c => Elementwise.Map(Variadic(c, (a, b) => a + b, (_, a, b) => a + b), sum => sum / c.Inputs.Count));

        registry.Add("Neg", c => Unary(c, x => -x, x => -x));
        registry.Add("Abs", c => Unary(c, Math.Abs, x => c.Input(0).ElementType != DataType.UInt64 && x < 0 ? -x : x));
        registry.Add("Sign", c => Unary(
            c,
            x => double.IsNaN(x) ? x : Math.Sign(x),
            x => c.Input(0).ElementType == DataType.UInt64 && x != 0 ? 1 : Math.Sign(x)));
        registry.Add("Relu", c => Unary(c, x => x < 0 ? 0 : x, x => Math.Max(x, 0)));
        registry.Add("Clip", Clip);

        registry.Add("BitwiseAnd", c => Binary(c, NotOnFloats(c), (_, a, b) => a & b));
        registry.Add("BitwiseOr", c => Binary(c, NotOnFloats(c), (_, a, b) => a | b));
        registry.Add("BitwiseXor", c => Binary(c, NotOnFloats(c), (_, a, b) => a ^ b));
        registry.Add("BitwiseNot", c => Elementwise.MapIntegers(c.Input(0), x => ~x));
        registry.Add("BitShift", BitShift);
    }

    private static ReferenceTensor Unary(KernelContext c, Func<double, double> onFloats, Func<long, long> onIntegers) =>
        c.Input(0).IsFloatingPoint ? Elementwise.Map(c.Input(0), onFloats) : Elementwise.MapIntegers(c.Input(0), onIntegers);

    private static ReferenceTensor Binary(
        KernelContext c, Func<double, double, double> onFloats, Func<DataType, long, long, long> onIntegers)
    {
        try
        {
            return Elementwise.Zip(c, c.Input(0), c.Input(1), onFloats, onIntegers);
        }
        catch (DivideByZeroException)
        {
            throw c.Error("an integer was divided by zero");
        }
    }

    private static ReferenceTensor Variadic(
        KernelContext c, Func<double, double, double> onFloats, Func<DataType, long, long, long> onIntegers) =>
        c.AllInputs().Aggregate((a, b) => Elementwise.Zip(c, a, b, onFloats, onIntegers));

    private static ReferenceTensor Mod(KernelContext c)
    {
        bool signOfDividend = c.GetInt("fmod", 0) == 1;
        return c.Input(0).IsFloatingPoint && !signOfDividend
            ? throw c.Error("floating-point inputs need the attribute fmod = 1")
            : Binary(c, (a, b) => a % b, signOfDividend ? IntegerMath.Remainder : IntegerMath.Modulo);
    }

    // The exponent may have another type than the base; integer powers go through float64, as ONNX Runtime's do.
    private static ReferenceTensor Pow(KernelContext c)
    {
        (ReferenceTensor x, ReferenceTensor exponent) = (AsDoubles(c.Input(0)), AsDoubles(c.Input(1)));
        ReferenceTensor power = Elementwise.Zip(c, x, exponent, Math.Pow, (_, a, _) => a);
        DataType type = c.Input(0).ElementType;
        return type.IsFloatingPoint()
            ? ReferenceTensor.OfFloats(type, power.Dims, [.. power.Floats])
            : ReferenceTensor.OfIntegers(type, power.Dims, [.. power.Floats.Select(p => IntegerMath.FromDouble(type, p))]);
    }

    // NaN passes; where the bounds cross, the upper one wins, as in min(max(x, low), high).
    private static ReferenceTensor Clip(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        if (!x.IsFloatingPoint)
        {
            long least = c.InputOrNull(1)?.ToInteger() ?? IntegerMath.MinValue(x.ElementType);
            long greatest = c.InputOrNull(2)?.ToInteger() ?? IntegerMath.MaxValue(x.ElementType);
            return Elementwise.MapIntegers(x, v => IntegerMath.Min(x.ElementType, IntegerMath.Max(x.ElementType, v, least), greatest));
        }

        double low = c.InputOrNull(1)?.ToScalar() ?? c.GetFloat("min", double.NegativeInfinity);
        double high = c.InputOrNull(2)?.ToScalar() ?? c.GetFloat("max", double.PositiveInfinity);
        return Elementwise.Map(x, v => Math.Min(Math.Max(v, low), high));
    }

    private static ReferenceTensor BitShift(KernelContext c)
    {
        bool left = c.GetString("direction", "") == "LEFT";
        return Binary(c, NotOnFloats(c), (_, a, b) => (ulong)b >= 64 ? 0 : left ? a << (int)b : (long)((ulong)a >> (int)b));
    }

    private static Func<double, double, double> NotOnFloats(KernelContext c) =>
        (_, _) => throw c.Error($"inputs of type {c.Input(0).ElementType.OnnxName()} have no bitwise operations");

    private static ReferenceTensor AsDoubles(ReferenceTensor x) => x.IsFloatingPoint
        ? ReferenceTensor.OfDoubles(x.Dims, [.. x.Floats])
        : ReferenceTensor.OfDoubles(x.Dims, [.. x.Integers.Select(v => IntegerMath.ToDouble(x.ElementType, v))]);
}
