using System.Numerics;
using System.Numerics.Tensors;

namespace OrtQLoRA.Graph.Quantization.Eetq;

/// <summary>
/// EETQ's W8A16 quantizer: symmetric int8, one scale per output channel, no zero point. Bit-exact to EETQ's own CPU
/// quantizer for fp32 weights and for fp16 weights widened to fp32.
/// </summary>
/// <remarks>
/// <c>amax[n] = max_k |W[k, n]|</c>, <c>scale = amax / 128</c> in fp32 (128, not 127),
/// <c>q = clamp(round(W / scale), -128, 127)</c> with a true division by the unrounded scale and halves rounded away
/// from zero. Stored is the scale rounded to fp16; dequantization is <c>q * fp16(scale)</c>. A column of zeros has
/// scale 0 and, as in EETQ, q = 127 throughout, which dequantizes to 0.
/// </remarks>
public static class EetqInt8
{
    /// <summary>The factor from a column's largest magnitude to its scale: 1/128, a power of two.</summary>
    public const float ScalePerMagnitude = 1f / 128f;

    /// <summary>The largest scale that fp16 can store; a column above <c>128 * 65504</c> cannot be quantized.</summary>
    public const float LargestScale = 65504f;

    /// <summary>Quantizes a matrix whose output channels are columns.</summary>
    /// <param name="weights">The weights [K, N], row-major.</param>
    /// <param name="columns">N.</param>
    /// <param name="quantized">Receives q [K, N].</param>
    /// <param name="scales">Receives the unrounded fp32 scales [N].</param>
    /// <exception cref="ArgumentException">The sizes do not fit each other.</exception>
    public static void Quantize(ReadOnlySpan<float> weights, int columns, Span<sbyte> quantized, Span<float> scales)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        if (weights.Length % columns != 0 || quantized.Length != weights.Length || scales.Length != columns)
        {
            throw new ArgumentException(
                $"{weights.Length} weights in {columns} columns do not fit {quantized.Length} quantized values and {scales.Length} scales.");
        }

        scales.Clear();
        for (int start = 0; start < weights.Length; start += columns)
        {
            AccumulateColumnMagnitudes(weights.Slice(start, columns), scales);
        }

        ScalesFromMagnitudes(scales);
        for (int start = 0; start < weights.Length; start += columns)
        {
            QuantizeRow(weights.Slice(start, columns), scales, quantized.Slice(start, columns));
        }
    }

    /// <summary>Dequantizes: <c>q * fp16(scale)</c>, exact in fp32.</summary>
    /// <param name="quantized">q [K, N], row-major.</param>
    /// <param name="scales">The stored scales [N].</param>
    /// <param name="weights">Receives the weights [K, N].</param>
    public static void Dequantize(ReadOnlySpan<sbyte> quantized, ReadOnlySpan<Half> scales, Span<float> weights)
    {
        float[] widened = new float[scales.Length];
        TensorPrimitives.ConvertToSingle(scales, widened);
        for (int start = 0; start < quantized.Length; start += scales.Length)
        {
            DequantizeRow(quantized.Slice(start, scales.Length), widened, weights.Slice(start, scales.Length));
        }
    }

    /// <summary>Raises each column's magnitude to that of one more row; NaN is passed over, as EETQ does.</summary>
    internal static void AccumulateColumnMagnitudes(ReadOnlySpan<float> row, Span<float> magnitudes)
    {
        int i = 0;
        for (; i <= row.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector<float> value = Vector.Abs(new Vector<float>(row[i..]));
            Vector<float> largest = new(magnitudes[i..]);
            Vector.ConditionalSelect(Vector.GreaterThan(value, largest), value, largest).CopyTo(magnitudes[i..]);
        }

        for (; i < row.Length; i++)
        {
            float value = MathF.Abs(row[i]);
            if (value > magnitudes[i])
            {
                magnitudes[i] = value;
            }
        }
    }

    /// <summary>The largest magnitude of a channel without NaN; 0 if it is empty.</summary>
    internal static float Magnitude(ReadOnlySpan<float> channel) =>
        channel.IsEmpty ? 0 : MathF.Abs(TensorPrimitives.MaxMagnitude(channel));

    /// <summary>Turns magnitudes into scales in place.</summary>
    internal static void ScalesFromMagnitudes(Span<float> magnitudes) =>
        TensorPrimitives.Multiply(magnitudes, ScalePerMagnitude, magnitudes);

    /// <summary>Quantizes values that have a scale each.</summary>
    internal static void QuantizeRow(ReadOnlySpan<float> row, ReadOnlySpan<float> scales, Span<sbyte> quantized)
    {
        int lanes = Vector<float>.Count;
        int i = 0;
        for (; i <= row.Length - Vector<sbyte>.Count; i += Vector<sbyte>.Count)
        {
            ReadOnlySpan<float> part = row[i..];
            ReadOnlySpan<float> partScales = scales[i..];
            Narrow(
                Round(new Vector<float>(part) / new Vector<float>(partScales)),
                Round(new Vector<float>(part[lanes..]) / new Vector<float>(partScales[lanes..])),
                Round(new Vector<float>(part[(2 * lanes)..]) / new Vector<float>(partScales[(2 * lanes)..])),
                Round(new Vector<float>(part[(3 * lanes)..]) / new Vector<float>(partScales[(3 * lanes)..]))).CopyTo(quantized[i..]);
        }

        for (; i < row.Length; i++)
        {
            quantized[i] = Round(row[i] / scales[i]);
        }
    }

    /// <summary>Quantizes the values of one output channel.</summary>
    internal static void QuantizeChannel(ReadOnlySpan<float> channel, float scale, Span<sbyte> quantized)
    {
        int lanes = Vector<float>.Count;
        Vector<float> scales = new(scale);
        int i = 0;
        for (; i <= channel.Length - Vector<sbyte>.Count; i += Vector<sbyte>.Count)
        {
            ReadOnlySpan<float> part = channel[i..];
            Narrow(
                Round(new Vector<float>(part) / scales),
                Round(new Vector<float>(part[lanes..]) / scales),
                Round(new Vector<float>(part[(2 * lanes)..]) / scales),
                Round(new Vector<float>(part[(3 * lanes)..]) / scales)).CopyTo(quantized[i..]);
        }

        for (; i < channel.Length; i++)
        {
            quantized[i] = Round(channel[i] / scale);
        }
    }

    /// <summary>Dequantizes values that have a (stored, widened) scale each.</summary>
    internal static void DequantizeRow(ReadOnlySpan<sbyte> quantized, ReadOnlySpan<float> scales, Span<float> weights)
    {
        for (int i = 0; i < quantized.Length; i++)
        {
            weights[i] = quantized[i] * scales[i];
        }
    }

    // C's round(): halves away from zero, found from the exact fraction, since adding 0.5 first would round
    // 0.49999997 up. The clamp keeps min(max(x, -128), 127) with comparisons that send NaN (0/0) to 127.
    private static sbyte Round(float quotient)
    {
        float whole = MathF.Truncate(quotient);
        if (MathF.Abs(quotient - whole) >= 0.5f)
        {
            whole += MathF.CopySign(1f, quotient);
        }

        return whole < 127f ? (sbyte)(whole > -128f ? whole : -128f) : (sbyte)127;
    }

    private static Vector<int> Round(Vector<float> quotient)
    {
        Vector<float> whole = Vector.Truncate(quotient);
        Vector<int> up = Vector.GreaterThanOrEqual(Vector.Abs(quotient - whole), new Vector<float>(0.5f));
        Vector<float> away = Vector.ConditionalSelect(Vector.LessThan(quotient, Vector<float>.Zero), new Vector<float>(-1f), Vector<float>.One);
        whole += Vector.ConditionalSelect(up, away, Vector<float>.Zero);
        Vector<float> low = new(-128f);
        Vector<float> high = new(127f);
        Vector<float> bounded = Vector.ConditionalSelect(Vector.GreaterThan(whole, low), whole, low);
        bounded = Vector.ConditionalSelect(Vector.LessThan(whole, high), bounded, high);
        return Vector.ConvertToInt32(bounded);
    }

    private static Vector<sbyte> Narrow(Vector<int> a, Vector<int> b, Vector<int> c, Vector<int> d) =>
        Vector.Narrow(Vector.Narrow(a, b), Vector.Narrow(c, d));
}
