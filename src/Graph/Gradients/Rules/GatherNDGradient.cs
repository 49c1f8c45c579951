using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y[b.., i..] = x[b.., indices[b.., i.., :]], batch dimensions b, each index of k numbers naming a row of what is behind
/// them: dx = scatter_add(0, indices, dy) with the index (b.., numbers) counted as one row number.
/// </summary>
internal static class GatherNDGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        Value indices = c.Input(1);
        int batchDims = (int)c.Node.GetInt("batch_dims", 0);
        int indexRank = c.Rank(indices);
        if (indices.Shape![indexRank - 1].Value is not { } numbers)
        {
            throw c.Unsupported(
                $"the last dimension of its indices '{indices}' is not known", "Run shape inference, or reshape the indices to a constant last dimension.");
        }

        int rowAxes = batchDims + (int)numbers;
        Value RowDims(int start, int end) => start == end ? b.Int64s(1) : Product(c, x, start, end);
        Value rowCount = RowDims(0, rowAxes);

        // One number per index: sum of number_j * (rows behind one step along axis j).
        Value row = numbers == 1 ? b.Squeeze(indices, -1) : Joined(c, x, indices, batchDims, rowAxes);
        if (batchDims > 0)
        {
            Value perBatch = RowDims(batchDims, rowAxes);
            if (numbers == 1)
            {
                row = b.Op("Mod", [row, perBatch]);
            }

            Value batches = RowDims(0, batchDims);
            Value first = b.Mul(b.Op("Range", [b.Scalar(0L), b.Squeeze(batches, 0), b.Scalar(1L)]), perBatch);
            Value merged = b.Op("Reshape", [row, b.Concat(0, batches, PerBatch(c, row, batches))], ("allowzero", 1));
            row = b.Add(merged, b.Unsqueeze(first, 1));
        }

        Value flat = b.Reshape(row, -1);
        Value updates = b.Op("Reshape", [c.OutputGradient, b.Concat(0, b.ShapeOf(flat), RowDims(rowAxes, c.Rank(x)))], ("allowzero", 1));
        updates.Type = new OnnxType.Tensor(x.ElementType, new Shape(Dimension.Unknown, Dimension.Unknown));
        return c.Gradients(c.Forms.AddRowsIntoZeros(x, rowCount, flat, updates));
    }

    // Negative numbers count from the end of their axis; Mod with the sign of the divisor brings them to the front.
    private static Value Joined(GradientContext c, Value x, Value indices, int batchDims, int rowAxes)
    {
        GraphBuilder b = c.Builder;
        Value dims = b.Concat(0, Enumerable.Range(batchDims, rowAxes - batchDims).Select(i => c.DimensionOf(x, i)));
        Value strides = b.Concat(0, Enumerable.Range(batchDims, rowAxes - batchDims)
            .Select(i => i + 1 == rowAxes ? b.Int64s(1) : Product(c, x, i + 1, rowAxes)));
        return b.ReduceSum(b.Mul(b.Op("Mod", [indices, dims]), strides), keepDims: false, -1);
    }

    private static Value PerBatch(GradientContext c, Value row, Value batches)
    {
        GraphBuilder b = c.Builder;
        Value count = b.Op("ReduceProd", [b.ShapeOf(row)], ("keepdims", 1));
        return b.Div(count, b.Op("Max", [batches, b.Int64s(1)]));
    }

    // Product of dimensions, int64 [1]: a constant if all are known.
    private static Value Product(GradientContext c, Value x, int start, int end)
    {
        Dimension[] dims = [.. x.Shape!.Skip(start).Take(end - start)];
        return dims.All(d => d.IsKnown)
            ? c.Builder.Int64s(dims.Aggregate(1L, (n, d) => n * d.Value!.Value))
            : c.Builder.Op("ReduceProd", [c.Builder.Concat(0, Enumerable.Range(start, end - start).Select(i => c.DimensionOf(x, i)))], ("keepdims", 1));
    }
}
