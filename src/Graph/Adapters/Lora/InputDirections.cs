using MathNet.Numerics.LinearAlgebra.Factorization;
using OrtQLoRA.Graph.LinearAlgebra;
using DoubleMatrix = MathNet.Numerics.LinearAlgebra.Matrix<double>;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>The principal directions of a layer's inputs.</summary>
/// <param name="Vectors">Directions [count, in], those of most variance first.</param>
/// <param name="ExplainedShares">The share of the whole variance that lies along each.</param>
internal sealed record InputDirections(Matrix Vectors, IReadOnlyList<double> ExplainedShares)
{
    /// <summary>Finds them from the inputs' covariance.</summary>
    /// <param name="inputs">Batches of positions [positions, in].</param>
    /// <param name="count">How many directions.</param>
    /// <param name="whitens">Whether each direction is divided by the deviation along it.</param>
    /// <exception cref="ConfigurationException">There are fewer positions than directions.</exception>
    public static InputDirections Of(IReadOnlyList<Matrix> inputs, int count, bool whitens)
    {
        int width = inputs[0].Columns;
        long positions = inputs.Sum(i => (long)i.Rows);
        if (positions < 2 || count > Math.Min(positions, width))
        {
            throw new ConfigurationException($"The calibration data have {positions} positions of width {width}, which have no {count} directions; give more data or a lower rank.");
        }

        double[] mean = new double[width];
        DoubleMatrix squares = DoubleMatrix.Build.Dense(width, width);
        foreach (Matrix batch in inputs)
        {
            DoubleMatrix x = Decompositions.ToDouble(batch);
            squares += x.TransposeThisAndMultiply(x);
            for (int c = 0; c < width; c++)
            {
                mean[c] += x.Column(c).Sum() / positions;
            }
        }

        DoubleMatrix covariance = DoubleMatrix.Build.Dense(width, width, (r, c) => (squares[r, c] - (positions * mean[r] * mean[c])) / (positions - 1));
        Evd<double> eigen = covariance.Evd(MathNet.Numerics.LinearAlgebra.Symmetricity.Symmetric);
        double total = Math.Max(double.Epsilon, covariance.Diagonal().Sum());
        Matrix vectors = new(count, width);
        double[] shares = new double[count];
        for (int i = 0; i < count; i++)
        {
            // Eigenvalues come in ascending order.
            int at = width - 1 - i;
            double variance = Math.Max(0, eigen.EigenValues[at].Real);
            double scale = whitens && variance > 0 ? 1 / Math.Sqrt(variance) : 1;
            shares[i] = variance / total;
            for (int c = 0; c < width; c++)
            {
                vectors[i, c] = (float)(eigen.EigenVectors[c, at] * scale);
            }
        }

        return new InputDirections(vectors, shares);
    }
}
