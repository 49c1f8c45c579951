using MathNet.Numerics.LinearAlgebra.Factorization;
using DoubleMatrix = MathNet.Numerics.LinearAlgebra.Matrix<double>;

namespace OrtQLoRA.Graph.LinearAlgebra;

/// <summary>Factorizations of single weights, computed in double.</summary>
public static class Decompositions
{
    /// <summary>Columns beyond the rank that the randomized decomposition draws; Halko et al. (arXiv 0909.4061) advise 5 to 10.</summary>
    private const int Oversampling = 8;

    /// <summary>The largest singular values with their vectors.</summary>
    /// <param name="matrix">[m, n].</param>
    /// <param name="rank">How many; at most min(m, n).</param>
    /// <returns>U [m, rank], singular values in descending order, V^T [rank, n].</returns>
    public static (Matrix U, float[] S, Matrix Vt) Svd(Matrix matrix, int rank)
    {
        (DoubleMatrix u, double[] s, DoubleMatrix vt) = FullSvd(ToDouble(matrix));
        return (FirstColumns(u, rank), [.. s.Take(rank).Select(v => (float)v)], FirstRows(vt, rank));
    }

    /// <summary>The smallest of the min(m, n) singular values with their vectors, still in descending order.</summary>
    /// <param name="matrix">[m, n].</param>
    /// <param name="rank">How many.</param>
    public static (Matrix U, float[] S, Matrix Vt) SmallestSvd(Matrix matrix, int rank)
    {
        (DoubleMatrix u, double[] s, DoubleMatrix vt) = FullSvd(ToDouble(matrix));
        int skipped = s.Length - rank;
        return (
            ToSingle(u.SubMatrix(0, u.RowCount, skipped, rank)),
            [.. s.Skip(skipped).Select(v => (float)v)],
            ToSingle(vt.SubMatrix(skipped, rank, 0, vt.ColumnCount)));
    }

    /// <summary>The largest singular values with their vectors, found by subspace iteration from a random start (Halko et al. 2009).</summary>
    /// <param name="matrix">[m, n].</param>
    /// <param name="rank">How many.</param>
    /// <param name="iterations">Passes of the iteration; more come closer to the exact decomposition.</param>
    /// <param name="gaussian">Draws the start.</param>
    public static (Matrix U, float[] S, Matrix Vt) RandomizedSvd(Matrix matrix, int rank, int iterations, Func<double> gaussian)
    {
        ArgumentNullException.ThrowIfNull(gaussian);
        DoubleMatrix a = ToDouble(matrix);
        int width = Math.Min(Math.Min(a.RowCount, a.ColumnCount), rank + Oversampling);
        DoubleMatrix q = Orthonormal(a * DoubleMatrix.Build.Dense(a.ColumnCount, width, (_, _) => gaussian()));
        for (int i = 0; i < iterations; i++)
        {
            q = Orthonormal(a * Orthonormal(a.TransposeThisAndMultiply(q)));
        }

        (DoubleMatrix u, double[] s, DoubleMatrix vt) = FullSvd(q.TransposeThisAndMultiply(a));
        return (FirstColumns(q * u, rank), [.. s.Take(rank).Select(v => (float)v)], FirstRows(vt, rank));
    }

    /// <summary>The factors of <c>A = Q R</c>: Q [m, k] orthonormal, R [k, n] upper triangular, k = min(m, n); signs as LAPACK's Householder reflections give them.</summary>
    public static (Matrix Q, Matrix R) Qr(Matrix matrix)
    {
        (DoubleMatrix q, DoubleMatrix r) = Householder.Decompose(ToDouble(matrix));
        return (ToSingle(q), ToSingle(r));
    }

    /// <summary>The inverse of a square matrix.</summary>
    public static Matrix Inverse(Matrix matrix) => ToSingle(ToDouble(matrix).Inverse());

    /// <summary>The pseudo-inverse of <c>M + epsilon I</c> for a symmetric matrix M.</summary>
    public static Matrix PseudoInverse(Matrix matrix, double epsilon)
    {
        DoubleMatrix shifted = ToDouble(matrix);
        for (int i = 0; i < shifted.RowCount; i++)
        {
            shifted[i, i] += epsilon;
        }

        return ToSingle(shifted.PseudoInverse());
    }

    internal static DoubleMatrix ToDouble(Matrix matrix) => DoubleMatrix.Build.Dense(matrix.Rows, matrix.Columns, (r, c) => matrix[r, c]);

    internal static Matrix ToSingle(DoubleMatrix matrix)
    {
        Matrix result = new(matrix.RowCount, matrix.ColumnCount);
        for (int r = 0; r < result.Rows; r++)
        {
            for (int c = 0; c < result.Columns; c++)
            {
                result[r, c] = (float)matrix[r, c];
            }
        }

        return result;
    }

    private static (DoubleMatrix U, double[] S, DoubleMatrix Vt) FullSvd(DoubleMatrix matrix)
    {
        Svd<double> svd = matrix.Svd(computeVectors: true);
        return (svd.U, svd.S.ToArray(), svd.VT);
    }

    private static DoubleMatrix Orthonormal(DoubleMatrix matrix) => Householder.Decompose(matrix).Q;

    private static Matrix FirstColumns(DoubleMatrix matrix, int count) => ToSingle(matrix.SubMatrix(0, matrix.RowCount, 0, count));

    private static Matrix FirstRows(DoubleMatrix matrix, int count) => ToSingle(matrix.SubMatrix(0, count, 0, matrix.ColumnCount));
}
