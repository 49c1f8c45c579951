using System.Runtime.InteropServices;

namespace OrtQLoRA.Graph.Quantization.Eetq;

/// <summary>EETQ int8 as a weight format: see <see cref="EetqInt8"/>.</summary>
public sealed class EetqInt8Format : IWeightFormat
{
    // Output features that are transposed at a time: their bytes of one input feature fill a cache line.
    private const int TransposedRows = 64;

    /// <inheritdoc/>
    public string Name => "eetq";

    /// <inheritdoc/>
    public IQuantizedWeight Quantize(WeightMatrix weight) => QuantizeToPlain(weight);

    /// <summary>
    /// Quantizes to plain int8 [K, N]. A weight that was dequantized from this format gets back the form it comes from.
    /// </summary>
    /// <exception cref="ModelFormatException">The weight holds infinities, NaN or values whose scale fp16 cannot hold.</exception>
    public static EetqWeight QuantizeToPlain(WeightMatrix weight)
    {
        ArgumentNullException.ThrowIfNull(weight);
        return weight.Content is IQuantizedSource { Quantized: EetqWeight known } ? known.AsOriginal()
            : weight.IsOutByIn ? FromRows(weight)
            : FromColumns(weight);
    }

    // [K, N]: the magnitudes of the columns are known only after one reading, so the weight is read twice.
    private static EetqWeight FromColumns(WeightMatrix weight)
    {
        int columns = weight.OutFeatures;
        float[] scales = new float[columns];
        weight.ForEachBlock((_, block) =>
        {
            for (int start = 0; start < block.Length; start += columns)
            {
                EetqInt8.AccumulateColumnMagnitudes(block.Slice(start, columns), scales);
            }
        });
        EetqInt8.ScalesFromMagnitudes(scales);
        Half[] stored = Store(scales, weight);

        byte[] quantized = new byte[weight.InFeatures * columns];
        double[] errors = new double[columns];
        double[] norms = new double[columns];
        float[] widened = Array.ConvertAll(stored, s => (float)s);
        float[] dequantized = new float[columns];
        weight.ForEachBlock((row, block) =>
        {
            for (int start = 0; start < block.Length; start += columns, row++)
            {
                ReadOnlySpan<float> original = block.Slice(start, columns);
                Span<sbyte> q = MemoryMarshal.Cast<byte, sbyte>(quantized.AsSpan(row * columns, columns));
                EetqInt8.QuantizeRow(original, scales, q);
                EetqInt8.DequantizeRow(q, widened, dequantized);
                for (int n = 0; n < columns; n++)
                {
                    double difference = (double)original[n] - dequantized[n];
                    errors[n] += difference * difference;
                    norms[n] += (double)original[n] * original[n];
                }
            }
        });
        return Finish(weight, quantized, stored, errors, norms);
    }

    // [N, K]: one output feature a row. Blocks of rows are quantized, then transposed into place.
    private static EetqWeight FromRows(WeightMatrix weight)
    {
        int columns = weight.OutFeatures;
        int length = weight.InFeatures;
        float[] scales = new float[columns];
        byte[] quantized = new byte[length * columns];
        sbyte[] rows = new sbyte[TransposedRows * length];
        double[] errors = new double[columns];
        double[] norms = new double[columns];
        weight.ForEachBlock((firstRow, block) =>
        {
            for (int start = 0; start < block.Length; start += rows.Length)
            {
                ReadOnlySpan<float> part = block.Slice(start, Math.Min(rows.Length, block.Length - start));
                int first = firstRow + (start / length);
                for (int i = 0; i < part.Length / length; i++)
                {
                    int n = first + i;
                    ReadOnlySpan<float> channel = part.Slice(i * length, length);
                    Span<sbyte> q = rows.AsSpan(i * length, length);
                    scales[n] = EetqInt8.Magnitude(channel) * EetqInt8.ScalePerMagnitude;
                    EetqInt8.QuantizeChannel(channel, scales[n], q);
                    (errors[n], norms[n]) = Compare(channel, q, (float)(Half)scales[n]);
                }

                Transpose(rows, part.Length / length, length, quantized, first, columns);
            }
        });
        return Finish(weight, quantized, Store(scales, weight), errors, norms);
    }

    private static (double SquaredError, double SquaredNorm) Compare(ReadOnlySpan<float> channel, ReadOnlySpan<sbyte> quantized, float scale)
    {
        double error = 0;
        double norm = 0;
        for (int k = 0; k < channel.Length; k++)
        {
            double difference = (double)channel[k] - (quantized[k] * scale);
            error += difference * difference;
            norm += (double)channel[k] * channel[k];
        }

        return (error, norm);
    }

    private static void Transpose(sbyte[] rows, int count, int length, byte[] target, int firstColumn, int columns)
    {
        for (int k = 0; k < length; k++)
        {
            int at = (k * columns) + firstColumn;
            for (int i = 0; i < count; i++)
            {
                target[at + i] = (byte)rows[(i * length) + k];
            }
        }
    }

    private static Half[] Store(float[] scales, WeightMatrix weight)
    {
        Half[] stored = Array.ConvertAll(scales, s => (Half)s);
        int overflow = Array.FindIndex(stored, s => !Half.IsFinite(s));
        return overflow < 0
            ? stored
            : throw new ModelFormatException(
                $"Weight '{weight.Name}': output feature {overflow} reaches {scales[overflow] / EetqInt8.ScalePerMagnitude}, whose scale fp16 cannot hold (at most {EetqInt8.LargestScale / EetqInt8.ScalePerMagnitude:0}). Exclude the layer from quantization.");
    }

    private static EetqWeight Finish(WeightMatrix weight, byte[] quantized, Half[] stored, double[] errors, double[] norms) =>
        new(quantized, stored, weight.InFeatures, QuantizationError.FromColumns(errors, norms, Array.ConvertAll(stored, s => s == Half.Zero)));
}
