using System.Runtime.InteropServices;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Quantization.Eetq;

/// <summary>A weight as plain EETQ int8: q [K, N] and one fp16 scale for each output feature.</summary>
public sealed class EetqWeight : IQuantizedWeight
{
    // DequantizeLinear has an axis from this opset on; ONNX Runtime's own operator of that name has one in any.
    private const long FirstOpsetWithAxis = 13;

    // From this opset on DequantizeLinear takes fp16 scales and gives fp16.
    private const long FirstOpsetWithHalf = 19;

    private readonly Func<byte[]> _quantized;
    private readonly Half[] _scales;
    private readonly float[] _widened;
    private readonly bool _isStreamed;

    internal EetqWeight(byte[] quantized, Half[] scales, int inFeatures, QuantizationError error)
        : this(() => quantized, scales, inFeatures, error, isStreamed: false)
    {
    }

    /// <summary>A weight whose values are fetched each time they are asked for.</summary>
    /// <param name="quantized">Fetches q [K, N], row-major.</param>
    /// <param name="scales">The stored scales [N].</param>
    /// <param name="inFeatures">K.</param>
    /// <param name="error">Distance from the original.</param>
    /// <param name="isStreamed">Whether fetching costs enough that emitted tensors must wait until they are read.</param>
    internal EetqWeight(Func<byte[]> quantized, Half[] scales, int inFeatures, QuantizationError error, bool isStreamed)
    {
        _quantized = quantized;
        _scales = scales;
        _widened = Array.ConvertAll(scales, s => (float)s);
        _isStreamed = isStreamed;
        InFeatures = inFeatures;
        Error = error;
    }

    /// <summary>
    /// Whether <c>q * scale</c> is rounded to fp16 whatever the model computes in, as EETQ's own kernels do; see
    /// <see cref="EetqFp16Format"/>.
    /// </summary>
    public bool IsRoundedToHalf { get; private init; }

    /// <summary>K.</summary>
    public int InFeatures { get; }

    /// <summary>N.</summary>
    public int OutFeatures => _scales.Length;

    /// <summary>q [K, N], row-major.</summary>
    public ReadOnlySpan<sbyte> Quantized => MemoryMarshal.Cast<byte, sbyte>(_quantized());

    /// <summary>The stored scales [N].</summary>
    public ReadOnlySpan<Half> Scales => _scales;

    /// <inheritdoc/>
    public long ByteLength => ((long)InFeatures * OutFeatures) + (2L * OutFeatures);

    /// <inheritdoc/>
    public QuantizationError Error { get; }

    /// <summary>The bytes in the layout <see cref="EetqLayout.Name"/>, padded to whole tiles.</summary>
    public byte[] Pack() => EetqLayout.PackPadded(Quantized, InFeatures, OutFeatures);

    /// <inheritdoc/>
    public IQuantizedWeight Streamed(Func<IQuantizedWeight> again) =>
        new EetqWeight(() => ((EetqWeight)again())._quantized(), _scales, InFeatures, Error, isStreamed: true) { IsRoundedToHalf = IsRoundedToHalf };

    /// <summary>The same weight where it stands for itself: no error.</summary>
    internal EetqWeight AsOriginal() =>
        new(_quantized, _scales, InFeatures, new QuantizationError(0, 0, 0, 0), _isStreamed) { IsRoundedToHalf = IsRoundedToHalf };

    /// <summary>The same weight with its products rounded to fp16.</summary>
    internal EetqWeight RoundedToHalf() => new(_quantized, _scales, InFeatures, Error, _isStreamed) { IsRoundedToHalf = true };

    /// <summary>q as a tensor [K, N].</summary>
    internal ITensor ToTensor() => Tensor(DataType.Int8, [InFeatures, OutFeatures], () => _quantized());

    /// <summary>q as a tensor [N, K].</summary>
    internal ITensor ToTransposedTensor() => Tensor(DataType.Int8, [OutFeatures, InFeatures], () => Transpose(_quantized(), InFeatures, OutFeatures));

    /// <summary>q as the blocks [N, K / block, block] of MatMulNBits: one output feature after the other, 128 added, the last block padded with 0.</summary>
    internal ITensor ToBlocks(int blockSize)
    {
        int blocks = (InFeatures + blockSize - 1) / blockSize;
        return Tensor(DataType.UInt8, [OutFeatures, blocks, blockSize], () =>
        {
            const byte zeroPoint = 128;
            byte[] transposed = Transpose(_quantized(), InFeatures, OutFeatures);
            byte[] result = new byte[OutFeatures * blocks * blockSize];
            result.AsSpan().Fill(zeroPoint);
            for (int n = 0; n < OutFeatures; n++)
            {
                Span<byte> row = result.AsSpan(n * blocks * blockSize, InFeatures);
                transposed.AsSpan(n * InFeatures, InFeatures).CopyTo(row);
                foreach (ref byte value in row)
                {
                    value ^= zeroPoint;
                }
            }

            return result;
        });
    }

    /// <inheritdoc/>
    /// <remarks>
    /// One DequantizeLinear along axis 0 of the transposed bytes: a whole row then has one scale, which ONNX Runtime's CPU
    /// kernel dequantizes twelve times faster than rows whose every element has another (0.08 against 0.96 ms for 1376 x 512). In fp32 the
    /// result is <c>q * fp16(scale)</c> exactly unless <see cref="IsRoundedToHalf"/>; in fp16 the product is rounded, as EETQ's
    /// kernels round it; bfloat16 is rounded from fp32.
    /// </remarks>
    public Value Emit(GraphBuilder builder, string stem, DataType type)
    {
        ArgumentNullException.ThrowIfNull(builder);
        bool inHalf = (type == DataType.Float16 || IsRoundedToHalf) && builder.Opset >= FirstOpsetWithHalf;
        Value quantized = builder.Graph.AddInitializer(builder.Graph.Names.Reserve(stem + "_quantized"), ToTransposedTensor());
        Value scales = builder.Graph.AddInitializer(
            builder.Graph.Names.Reserve(stem + "_scale"),
            inHalf ? DenseTensor.Vector(_scales) : DenseTensor.Vector(_widened));
        string domain = builder.Opset >= FirstOpsetWithAxis ? "" : OperatorDomains.Microsoft;
        Node node = builder.Emit("DequantizeLinear", domain, [quantized, scales], 1, ("axis", 0));
        node.Outputs[0].Type ??= new OnnxType.Tensor(scales.ElementType, Shape.Of([OutFeatures, InFeatures]));
        return builder.Cast(IsRoundedToHalf ? builder.Cast(node.Outputs[0], DataType.Float16) : node.Outputs[0], type);
    }

    private static byte[] Transpose(byte[] matrix, int rows, int columns)
    {
        // Tiles that stay in the first-level cache on both sides.
        const int Tile = 64;
        byte[] result = new byte[matrix.Length];
        Parallel.For(0, (rows + Tile - 1) / Tile, tile =>
        {
            int top = tile * Tile;
            for (int left = 0; left < columns; left += Tile)
            {
                for (int r = top; r < Math.Min(top + Tile, rows); r++)
                {
                    for (int c = left; c < Math.Min(left + Tile, columns); c++)
                    {
                        result[(c * rows) + r] = matrix[(r * columns) + c];
                    }
                }
            }
        });

        return result;
    }

    /// <inheritdoc/>
    public void DequantizeRows(int firstRow, Span<float> rows)
    {
        ReadOnlySpan<sbyte> quantized = Quantized;
        int columns = OutFeatures;
        for (int start = 0; start < rows.Length; start += columns, firstRow++)
        {
            EetqInt8.DequantizeRow(quantized.Slice(firstRow * columns, columns), _widened, rows.Slice(start, columns));
        }

        RoundIfAsked(rows);
    }

    /// <inheritdoc/>
    public void DequantizeColumns(int firstColumn, Span<float> columns)
    {
        ReadOnlySpan<sbyte> quantized = Quantized;
        int count = columns.Length / InFeatures;
        for (int k = 0; k < InFeatures; k++)
        {
            ReadOnlySpan<sbyte> row = quantized.Slice((k * OutFeatures) + firstColumn, count);
            for (int i = 0; i < count; i++)
            {
                columns[(i * InFeatures) + k] = row[i] * _widened[firstColumn + i];
            }
        }

        RoundIfAsked(columns);
    }

    private void RoundIfAsked(Span<float> values)
    {
        if (IsRoundedToHalf)
        {
            foreach (ref float value in values)
            {
                value = (float)(Half)value;
            }
        }
    }

    private ITensor Tensor(DataType type, long[] dims, Func<byte[]> make) =>
        _isStreamed ? new DeferredTensor(type, dims, make) : new DenseTensor(type, dims, make());
}
