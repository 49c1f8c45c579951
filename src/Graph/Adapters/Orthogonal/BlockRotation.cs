using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Adapters.Orthogonal;

/// <summary>The product with a block-diagonal matrix.</summary>
internal static class BlockRotation
{
    /// <summary>x [..., blocks * n] times R [blocks or 1, n, n], block by block.</summary>
    public static Value Apply(GraphBuilder b, Value x, Value r, int blocks, int size)
    {
        Value shape = b.ShapeOf(x);

        // [positions, blocks, n] with the blocks in front is a batched product.
        Value split = b.Transpose(b.Reshape(x, -1, blocks, size), 1, 0, 2);
        return b.Reshape(b.Transpose(b.MatMul(split, r), 1, 0, 2), shape);
    }

    /// <summary>W R^T for a weight [out, blocks * n]: each block of columns times the transposed block.</summary>
    public static Matrix ApplyTransposed(Matrix weight, Func<int, Matrix> block, int size)
    {
        Matrix result = new(weight.Rows, weight.Columns);
        for (int start = 0; start < weight.Columns; start += size)
        {
            Matrix part = new(weight.Rows, size);
            for (int row = 0; row < weight.Rows; row++)
            {
                weight.Row(row).Slice(start, size).CopyTo(part.Row(row));
            }

            Matrix turned = part.Multiply(block(start / size).Transpose());
            for (int row = 0; row < weight.Rows; row++)
            {
                turned.Row(row).CopyTo(result.Row(row).Slice(start, size));
            }
        }

        return result;
    }
}
