using System.Numerics.Tensors;

namespace OrtQLoRA.Graph.Export;

/// <summary>A product <c>L R</c> that is added to a matrix: row i gets <c>sum_j L[i, j] * R[j, :]</c>.</summary>
internal sealed class LowRankTerm
{
    private readonly float[] _left;
    private readonly float[] _right;
    private readonly int _rank;
    private readonly int _width;

    /// <summary>Creates the term.</summary>
    /// <param name="left">L [rows, rank].</param>
    /// <param name="right">R [rank, width].</param>
    /// <param name="rank">The rank.</param>
    public LowRankTerm(float[] left, float[] right, int rank)
    {
        _left = left;
        _right = right;
        _rank = rank;
        _width = right.Length / rank;
    }

    /// <summary>The term of a LoRA pair for an initializer of the given orientation.</summary>
    /// <param name="a">[r, in].</param>
    /// <param name="b">[out, r].</param>
    /// <param name="rank">r.</param>
    /// <param name="factor">Multiplies the product.</param>
    /// <param name="isOutByIn">Whether the initializer is [out, in] (B A), rather than [in, out] (A^T B^T).</param>
    public static LowRankTerm OfLora(float[] a, float[] b, int rank, double factor, bool isOutByIn)
    {
        float[] left = isOutByIn ? [.. b] : Transpose(a, rank);
        TensorPrimitives.Multiply(left, (float)factor, left);
        return new LowRankTerm(left, isOutByIn ? a : Transpose(b, b.Length / rank), rank);
    }

    /// <summary>Adds the term to a row of the matrix.</summary>
    public void AddTo(int index, Span<float> row)
    {
        for (int j = 0; j < _rank; j++)
        {
            TensorPrimitives.MultiplyAdd(_right.AsSpan(j * _width, _width), _left[(index * _rank) + j], row, row);
        }
    }

    private static float[] Transpose(float[] matrix, int rows)
    {
        int columns = matrix.Length / rows;
        float[] result = new float[matrix.Length];
        for (int r = 0; r < rows; r++)
        {
            for (int c = 0; c < columns; c++)
            {
                result[(c * rows) + r] = matrix[(r * columns) + c];
            }
        }

        return result;
    }
}
