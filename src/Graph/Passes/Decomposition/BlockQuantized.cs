using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>
/// com.microsoft MatMulNBits and GatherBlockQuantized as DequantizeLinear in blocks and a plain product or lookup. The
/// integers keep their bits: 4-bit rows that fill their blocks are read as ONNX's uint4 where they lie.
/// </summary>
internal static class BlockQuantized
{
    // a [..., K], b uint8 [N, blocks, bytes], scales [N * blocks], zero points, group indices, bias [N]
    internal static IReadOnlyList<Value?> MatMulNBits(DecompositionContext c)
    {
        GraphBuilder b = c.Builder;
        long inFeatures = c.Node.GetInt("K", 0);
        long outFeatures = c.Node.GetInt("N", 0);
        Value weight = Dequantized(c, c.Input(1), c.Input(2), c.InputOrNull(3), [outFeatures, inFeatures], 1, c.Node.GetInt("bits", 4));
        Value x = c.Input(0);
        Value product;
        if (x.Shape is { Rank: 2 })
        {
            product = c.Standing(b.Op("Gemm", [x, weight], ("transB", 1L)));
        }
        else
        {
            // Over rows: a Transpose would invite ONNX Runtime to move it onto the stored integers.
            Value rows = c.Standing(b.Op("Gemm", [b.Reshape(x, -1, inFeatures), weight], ("transB", 1L)));
            Value shape = x.Shape is { Rank: 3 } && x.Shape[0].Value is null ? c.Shapes.Of(x) : b.ShapeOf(x);
            product = b.Reshape(rows, b.Concat(0, b.Op("Slice", [shape, b.Int64s(0), b.Int64s(-1), b.Int64s(0)]), b.Int64s(outFeatures)));
        }

        return [c.AddIfGiven(product, c.InputOrNull(5))];
    }

    internal static string? RefuseMatMulNBits(Node node) =>
        node.InputOrNull(4) is not null ? "its groups are permuted (g_idx, which ONNX Runtime has given up). Quantize the model without act-order, or dequantize it first"
        : node.GetInt("weight_prepacked", 0) != 0 ? "its weight is packed for one kind of GPU (weight_prepacked). Build the model without prepacking"
        : (RefuseStored(node, 1, 2, 3) ?? RefuseSizes(node)) is { } stored ? stored
        : node.InputOrNull(0)?.Shape is null ? "the rank of its input is not known"
        : null;

    // data, indices, scales, zero points
    internal static IReadOnlyList<Value?> GatherBlockQuantized(DecompositionContext c)
    {
        ITensor content = c.Input(0).Initializer!;
        int rank = content.Dims.Length;
        long bits = content.ElementType == DataType.UInt8 ? c.Node.GetInt("bits", 4) : 4;
        long perByte = content.ElementType == DataType.UInt8 ? 8 / bits : 1;
        long[] dims = [.. content.Dims.Take(rank - 1), content.Dims[^1] * perByte];
        int axis = (int)((c.Node.GetInt("quantize_axis", 1) + rank) % rank);
        Value table = Dequantized(c, c.Input(0), c.Input(2), c.InputOrNull(3), dims, axis, bits);
        return [c.Builder.Op("Gather", [table, c.Input(1)], ("axis", c.Node.GetInt("gather_axis", 0)))];
    }

    internal static string? RefuseGather(Node node) =>
        node.InputOrNull(0)?.ElementType is not (DataType.UInt8 or DataType.Int4 or DataType.UInt4) ? $"its table is {node.InputOrNull(0)?.ElementType.OnnxName()}; uint8, int4 and uint4 are read"
        : RefuseStored(node, 0, 2, 3)
        ?? (node.GetInt("bits", 4) is not (2 or 4 or 8) ? $"its integers have {node.GetInt("bits", 4)} bits; 2, 4 and 8 are read"
            : node.GetInt("block_size", 128) <= 0 ? "its block_size is not positive"
            : null);

    private static string? RefuseSizes(Node node)
    {
        long inFeatures = node.GetInt("K", 0);
        long outFeatures = node.GetInt("N", 0);
        long bits = node.GetInt("bits", 4);
        long blockSize = node.GetInt("block_size", 0);
        if (bits is not (2 or 4 or 8))
        {
            return $"its integers have {bits} bits; 2, 4 and 8 are read";
        }

        if (inFeatures <= 0 || outFeatures <= 0 || blockSize < 16 || !long.IsPow2(blockSize) || Math.Max(inFeatures, outFeatures) > int.MaxValue || blockSize > int.MaxValue)
        {
            return $"its attributes K={inFeatures}, N={outFeatures}, block_size={blockSize} are no sizes of a matrix in blocks of a power of two from 16 on";
        }

        long blocks = (inFeatures + blockSize - 1) / blockSize;
        return RefuseCount(node, 1, outFeatures * blocks * (blockSize * bits / 8))
            ?? RefuseCount(node, 2, outFeatures * blocks)
            ?? (node.InputOrNull(3) is { } zeros ? RefuseCount(node, 3, zeros.ElementType.IsFloatingPoint() ? outFeatures * blocks : outFeatures * (((blocks * bits) + 7) / 8)) : null);
    }

    private static string? RefuseCount(Node node, int input, long expected) =>
        node.InputOrNull(input)?.Initializer is { } content && content.ElementCount() == expected ? null
        : $"its input {input} ('{node.InputOrNull(input)?.Name}') should have {expected} elements for its K, N, bits and block_size, not {node.InputOrNull(input)?.Initializer?.ElementCount() ?? 0}";

    private static string? RefuseStored(Node node, params int[] inputs) =>
        inputs.FirstOrDefault(i => node.InputOrNull(i) is { IsConstant: false }, -1) is >= 0 and int computed
            ? $"its input {computed} ('{node.Inputs[computed]!.Name}') is computed and not an initializer"
            : null;

    /// <summary>Emits the matrix; calls that share the integers and scales share it.</summary>
    private static Value Dequantized(DecompositionContext c, Value data, Value scales, Value? zeroPoints, long[] dims, int axis, long bits) =>
        c.Shared(("dequantized", data.Name, scales.Name, zeroPoints?.Name), () =>
        {
            GraphBuilder b = c.Builder;
            long blockSize = c.Node.GetInt("block_size", 128);
            long blocks = (dims[axis] + blockSize - 1) / blockSize;
            PackedIntegers packing = new(data.Initializer!, dims, axis, blocks * blockSize, (int)bits);
            long[] scaleDims = [.. dims.Select((d, i) => i == axis ? blocks : d)];
            Value integers = c.Own(data, packing.Unpack());
            Value scale = scales.Shape is { } known && known.Count == scaleDims.Length ? scales : b.Reshape(scales, scaleDims);
            if (zeroPoints is not null && zeroPoints.ElementType.IsFloatingPoint())
            {
                return WithFloatZeroPoints(c, integers, scale, b.Reshape(zeroPoints, scaleDims), dims, axis, blockSize);
            }

            ITensor? zeros = zeroPoints is not null ? new PackedIntegers(zeroPoints.Initializer!, scaleDims, scaleDims.Length - 1, 0, (int)bits).Unpack()
                : integers.ElementType == DataType.Int4 || data.ElementType == DataType.UInt4 ? null
                : PackedIntegers.Filled(integers.ElementType, scaleDims, 1 << (int)(bits - 1));
            Value? zero = zeros is null ? null : zeroPoints is null ? b.Constant((DenseTensor)zeros) : c.Own(zeroPoints, zeros);
            return b.Op("DequantizeLinear", [integers, scale, zero], ("axis", (long)axis), ("block_size", blockSize));
        });

    // (q - zero) * scale, zero being no integer
    private static Value WithFloatZeroPoints(DecompositionContext c, Value integers, Value scale, Value zero, long[] dims, int axis, long blockSize)
    {
        GraphBuilder b = c.Builder;
        Value dequantized = b.Op("DequantizeLinear", [integers, scale], ("axis", (long)axis), ("block_size", blockSize));
        Value offset = b.Unsqueeze(b.Mul(zero, scale), axis + 1);
        long[] expanded = [.. dims.SelectMany((d, i) => i == axis ? (long[])[(d + blockSize - 1) / blockSize, blockSize] : [d])];
        Value spread = b.Reshape(b.Expand(offset, b.Int64s(expanded)), [.. dims.Select((d, i) => i == axis ? (d + blockSize - 1) / blockSize * blockSize : d)]);
        Value weight = b.Sub(dequantized, c.Slice(spread, axis, 0, dims[axis]));
        weight.Producer!.Metadata[WeightTrace.PartKey] = "offset";
        return weight;
    }
}
