using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Conversions between element types.</summary>
internal static class CastKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("Identity", c => c.Input(0));
        registry.Add("Cast", c => Cast(c, c.Input(0), (DataType)c.GetInt("to", 0)));
        registry.Add("CastLike", c => Cast(c, c.Input(0), c.Input(1).ElementType));
    }

    private static ReferenceTensor Cast(KernelContext c, ReferenceTensor x, DataType to)
    {
        if (x.ElementType == to)
        {
            return x;
        }

        if (x.IsString || !(to.IsFloatingPoint() || ReferenceTensor.HoldsIntegers(to)))
        {
            throw c.Unsupported($"no conversion from {x.ElementType.OnnxName()} to {to.OnnxName()}");
        }

        if (to.IsFloatingPoint())
        {
            return ReferenceTensor.OfFloats(to, x.Dims, x.IsFloatingPoint
                ? [.. x.Floats]
                : [.. x.Integers.Select(v => ToFloat(c.Mode, x.ElementType, to, v))]);
        }

        return ReferenceTensor.OfIntegers(to, x.Dims, x.IsFloatingPoint
            ? [.. x.Floats.Select(v => ToInteger(to, v))]
            : [.. x.Integers]);
    }

    // An integer beyond 2^53 must be rounded once, not first to float64 and then to float.
    private static double ToFloat(EvaluationMode mode, DataType from, DataType to, long value) =>
        mode == EvaluationMode.Exact || to == DataType.Double ? IntegerMath.ToDouble(from, value)
        : from == DataType.UInt64 ? (float)(ulong)value
        : (float)value;

    // Truncates towards zero. Out of range, ONNX leaves the result to the platform; here it saturates at int64 and wraps.
    private static long ToInteger(DataType to, double value) => to == DataType.Bool
        ? value != 0 ? 1 : 0
        : IntegerMath.FromDouble(to, value);
}
