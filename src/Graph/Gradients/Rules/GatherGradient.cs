using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y = x[.., indices, ..] along an axis (an embedding looks rows up): dx = scatter_add(0, indices, dy), where rows that are
/// looked up several times get the sum.
/// </summary>
internal static class GatherGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        int axis = c.Axis(c.Node.GetInt("axis", 0), x);
        if (TrySingle(c, axis) is { } single)
        {
            return c.Gradients(single);
        }

        int rank = c.Rank(x);
        int indexRank = c.Rank(c.Input(1));
        Value indices = b.Reshape(b.Cast(c.Input(1), DataType.Int64), -1);
        if (axis == 0)
        {
            return c.Gradients(c.Forms.AddRowsIntoZeros(x, c.DimensionOf(x, 0), indices, AsRows(c, c.OutputGradient, indices, x, 0)));
        }

        // Add rows to x with the axis moved to the front: dy is [x dims before, index dims, x dims after].
        long[] toFront = [axis, .. Enumerable.Range(0, rank).Where(i => i != axis).Select(i => (long)i)];
        long[] fromFront = [.. Enumerable.Range(1, axis).Select(i => (long)i), 0, .. Enumerable.Range(axis + 1, rank - axis - 1).Select(i => (long)i)];
        long[] indexToFront =
        [
            .. Enumerable.Range(axis, indexRank).Select(i => (long)i),
            .. Enumerable.Range(0, axis).Select(i => (long)i),
            .. Enumerable.Range(axis + indexRank, rank - axis - 1).Select(i => (long)i),
        ];
        Value front = c.Transpose(c.ZerosLike(x), toFront);
        Value updates = AsRows(c, c.Transpose(c.OutputGradient, indexToFront), indices, x, axis);
        Value dx = c.Transpose(c.Forms.AddRowsIntoZeros(front, c.DimensionOf(x, axis), indices, updates), fromFront);
        dx.Type = x.Type;
        return c.Gradients(dx);
    }

    // The gradient of looked-up rows as [n, elements of a row].
    private static Value AsRows(GradientContext c, Value gradient, Value indices, Value x, int axis)
    {
        GraphBuilder b = c.Builder;
        int[] others = [.. Enumerable.Range(0, c.Rank(x)).Where(i => i != axis)];
        Value perRow = others.Length == 0 ? b.Int64s(1)
            : others.All(i => x.Shape![i].IsKnown) ? b.Int64s(others.Aggregate(1L, (n, i) => n * x.Shape![i].Value!.Value))
            : b.Op("ReduceProd", [b.Concat(0, others.Select(i => c.DimensionOf(x, i)))], ("keepdims", 1));
        Value rows = b.Op("Reshape", [gradient, b.Concat(0, b.ShapeOf(indices), perRow)], ("allowzero", 1));
        rows.Type = new OnnxType.Tensor(x.ElementType, new Shape(Dimension.Unknown, ConstantContent.Int64s(perRow) is [var n] ? n : Dimension.Unknown));
        return rows;
    }

    // One constant index (the first token, a stacked pair): its row amid zeros, without a scatter.
    private static Value? TrySingle(GradientContext c, int axis)
    {
        if (c.ConstantInts(1) is not [long index])
        {
            return null;
        }

        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        int indexRank = c.Rank(c.Input(1));
        Value row = indexRank == 1 ? c.OutputGradient : indexRank == 0 ? b.Unsqueeze(c.OutputGradient, axis)
            : b.Squeeze(c.OutputGradient, [.. Enumerable.Range(axis, indexRank - 1).Select(i => (long)i)]);
        if (x.Shape![axis].Value is { } dim)
        {
            return c.Forms.PadPart(row, x, axis, index < 0 ? index + dim : index, 1);
        }

        Value dimension = c.DimensionOf(x, axis);
        Value before = index < 0 ? b.Add(dimension, b.Int64s(index)) : b.Int64s(index);
        Value after = index < 0 ? b.Int64s(-index - 1) : b.Sub(dimension, b.Int64s(index + 1));
        Value padded = b.Op("Pad", [row, b.Concat(0, before, after), null, b.Int64s(axis)]);
        padded.Type = x.Type;
        return padded;
    }
}
