using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Linear quantization per tensor, per axis or per block, and integer matrix products.</summary>
internal static class QuantizationKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("DequantizeLinear", DequantizeLinear);
        registry.Add("QuantizeLinear", QuantizeLinear);
        registry.AddMany("DynamicQuantizeLinear", DynamicQuantizeLinear);
        registry.Add("MatMulInteger", MatMulInteger);
    }

    // (x - zero point) * scale
    private static ReferenceTensor DequantizeLinear(KernelContext c)
    {
        (ReferenceTensor x, ReferenceTensor scale) = (c.Input(0), c.Input(1));
        ReferenceTensor? zeroPoint = c.InputOrNull(2);
        int[] parameter = ParameterOf(c, x, scale);
        double[] result = new double[x.Count];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = (x.Integers[i] - (zeroPoint?.Integers[parameter[i]] ?? 0)) * scale.Floats[parameter[i]];
        }

        return ReferenceTensor.OfFloats((DataType)c.GetInt("output_dtype", (long)scale.ElementType), x.Dims, result);
    }

    // saturate(round(x / scale) + zero point), ties to even
    private static ReferenceTensor QuantizeLinear(KernelContext c)
    {
        (ReferenceTensor x, ReferenceTensor scale) = (c.Input(0), c.Input(1));
        ReferenceTensor? zeroPoint = c.InputOrNull(2);
        DataType declared = (DataType)c.GetInt("output_dtype", 0);
        DataType type = zeroPoint?.ElementType ?? (declared == DataType.Undefined ? DataType.UInt8 : declared);
        if (!ReferenceTensor.HoldsIntegers(type))
        {
            throw c.Unsupported($"quantization to {type.OnnxName()}");
        }

        int[] parameter = ParameterOf(c, x, scale);
        long[] result = new long[x.Count];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = Quantize(c, type, x.Floats[i], scale.Floats[parameter[i]], zeroPoint?.Integers[parameter[i]] ?? 0);
        }

        return ReferenceTensor.OfIntegers(type, x.Dims, result);
    }

    // The quotient is formed in float where the runtime does so: a tie there need not be one in float64.
    private static long Quantize(KernelContext c, DataType type, double x, double scale, long zeroPoint)
    {
        double quotient = c.Mode == EvaluationMode.Typed ? (float)(x / scale) : x / scale;
        double value = Math.Round(quotient, MidpointRounding.ToEven) + zeroPoint;
        return (long)Math.Clamp(value, IntegerMath.MinValue(type), IntegerMath.MaxValue(type));
    }

    // uint8 over [min(x, 0), max(x, 0)]: outputs, scale and zero point.
    private static ReferenceTensor[] DynamicQuantizeLinear(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        double low = x.Floats.Aggregate(0.0, Math.Min);
        double high = x.Floats.Aggregate(0.0, Math.Max);
        double exact = high == low ? 1 : (high - low) / 255;
        double scale = c.Mode == EvaluationMode.Typed ? (float)exact : exact;
        long zeroPoint = (long)Math.Round(Math.Clamp(-low / scale, 0, 255), MidpointRounding.ToEven);
        long[] quantized = [.. x.Floats.Select(v => Quantize(c, DataType.UInt8, v, scale, zeroPoint))];
        return
        [
            ReferenceTensor.OfIntegers(DataType.UInt8, x.Dims, quantized),
            ReferenceTensor.OfFloats(DataType.Float, [], scale),
            ReferenceTensor.OfIntegers(DataType.UInt8, [], zeroPoint),
        ];
    }

    // (a - a's zero point) (b - b's zero point) in int32; zero points are scalars, per row of a or per column of b.
    private static ReferenceTensor MatMulInteger(KernelContext c)
    {
        ReferenceTensor a = Centered(c, c.Input(0), c.InputOrNull(2), z => z.Rank == 1 && z.Count > 1 ? z.Reshaped([z.Count, 1]) : z);
        ReferenceTensor b = Centered(c, c.Input(1), c.InputOrNull(3), z => z);
        return MatMulKernels.MatMul(c, a, b);
    }

    private static ReferenceTensor Centered(KernelContext c, ReferenceTensor x, ReferenceTensor? zeroPoint, Func<ReferenceTensor, ReferenceTensor> align)
    {
        ReferenceTensor wide = ReferenceTensor.OfIntegers(DataType.Int32, x.Dims, [.. x.Integers]);
        if (zeroPoint is null)
        {
            return wide;
        }

        ReferenceTensor offset = align(zeroPoint.Count == 1 ? zeroPoint.Reshaped([]) : zeroPoint);
        ReferenceTensor wideOffset = ReferenceTensor.OfIntegers(DataType.Int32, offset.Dims, [.. offset.Integers]);
        return Elementwise.Zip(c, wide, wideOffset, (v, _) => v, (_, v, z) => v - z);
    }

    /// <summary>
    /// For every element, the position of its scale: 0 for one scale, the position along 'axis' for a vector of them,
    /// or the block along 'axis' for a tensor of x's rank.
    /// </summary>
    private static int[] ParameterOf(KernelContext c, ReferenceTensor x, ReferenceTensor scale)
    {
        long blockSize = c.GetInt("block_size", 0);
        if (scale.Count == 1 && (blockSize == 0 || x.Rank == 0))
        {
            return new int[x.Count];
        }

        int axis = c.Axis(c.GetInt("axis", 1), x.Rank);
        long[] wanted = blockSize == 0
            ? [x.Dims[axis]]
            : [.. x.Dims.Select((d, i) => i == axis ? (d + blockSize - 1) / blockSize : d)];
        if (!scale.Dims.SequenceEqual(wanted))
        {
            throw c.Error($"scale {scale} does not fit {x} along axis {axis}{(blockSize == 0 ? "" : $" in blocks of {blockSize}")}; it must have the shape [{string.Join(", ", wanted)}]");
        }

        long[] strides = Indexing.Strides(scale.Dims);
        int[] map = new int[x.Count];
        for (int i = 0; i < map.Length; i++)
        {
            long[] position = Indexing.Unravel(i, x.Dims);
            position[axis] /= Math.Max(blockSize, 1);
            map[i] = (int)(blockSize == 0 ? position[axis] : position.Select((p, j) => p * strides[j]).Sum());
        }

        return map;
    }
}
