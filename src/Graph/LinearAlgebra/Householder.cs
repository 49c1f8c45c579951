using DoubleMatrix = MathNet.Numerics.LinearAlgebra.Matrix<double>;

namespace OrtQLoRA.Graph.LinearAlgebra;

/// <summary>
/// QR by Householder reflections with LAPACK's convention (dgeqrf): each diagonal element of R has the sign opposite to
/// the element that it replaces. OLoRA's factors depend on that sign.
/// </summary>
internal static class Householder
{
    /// <summary>Q [m, k] with orthonormal columns and R [k, n], k = min(m, n).</summary>
    public static (DoubleMatrix Q, DoubleMatrix R) Decompose(DoubleMatrix matrix)
    {
        int rows = matrix.RowCount;
        int columns = matrix.ColumnCount;
        int rank = Math.Min(rows, columns);

        // Columns as arrays: every reflection works along them.
        double[][] work = [.. Enumerable.Range(0, columns).Select(c => matrix.Column(c).ToArray())];
        double[][] reflectors = new double[rank][];
        for (int k = 0; k < rank; k++)
        {
            reflectors[k] = Reflector(work[k], k);
            for (int c = k; c < columns; c++)
            {
                Reflect(reflectors[k], k, work[c]);
            }
        }

        double[][] q = [.. Enumerable.Range(0, rank).Select(c => Unit(rows, c))];
        for (int k = rank - 1; k >= 0; k--)
        {
            foreach (double[] column in q)
            {
                Reflect(reflectors[k], k, column);
            }
        }

        return (
            DoubleMatrix.Build.DenseOfColumnArrays(q),
            DoubleMatrix.Build.Dense(rank, columns, (r, c) => r <= c ? work[c][r] : 0));
    }

    // The unit vector v of H = I - 2 v v^T that turns the tail of a column onto its first axis; empty for H = I, which
    // LAPACK takes where nothing lies below the diagonal.
    private static double[] Reflector(double[] column, int from)
    {
        double tail = 0;
        for (int i = from + 1; i < column.Length; i++)
        {
            tail += column[i] * column[i];
        }

        if (tail == 0)
        {
            return [];
        }

        double norm = Math.Sqrt((column[from] * column[from]) + tail);
        double[] v = column[from..];
        v[0] += column[from] >= 0 ? norm : -norm;
        double length = Math.Sqrt((v[0] * v[0]) + tail);
        for (int i = 0; i < v.Length; i++)
        {
            v[i] /= length;
        }

        return v;
    }

    private static void Reflect(double[] v, int from, double[] column)
    {
        double dot = 0;
        for (int i = 0; i < v.Length; i++)
        {
            dot += v[i] * column[from + i];
        }

        for (int i = 0; i < v.Length; i++)
        {
            column[from + i] -= 2 * dot * v[i];
        }
    }

    private static double[] Unit(int length, int index)
    {
        double[] unit = new double[length];
        unit[index] = 1;
        return unit;
    }
}
