namespace OrtQLoRA.Graph.Quantization;

/// <summary>How far a dequantized weight is from the original.</summary>
/// <param name="RelativeFrobenius"><c>|W - What| / |W|</c> in the Frobenius norm; 0 for a weight of zeros.</param>
/// <param name="WorstColumn">The output feature with the largest relative error.</param>
/// <param name="WorstColumnRelative"><c>|w_n - what_n| / |w_n|</c> of that output feature.</param>
/// <param name="LostColumns">
/// Number of output features that are not zero but dequantize to zero, since their scale is too small for the stored type.
/// </param>
public sealed record QuantizationError(double RelativeFrobenius, int WorstColumn, double WorstColumnRelative, int LostColumns)
{
    /// <summary>The error from sums of squares for each column.</summary>
    internal static QuantizationError FromColumns(ReadOnlySpan<double> squaredErrors, ReadOnlySpan<double> squaredNorms, ReadOnlySpan<bool> isZeroAfter)
    {
        double error = 0;
        double norm = 0;
        double worst = 0;
        int worstColumn = 0;
        int lost = 0;
        for (int n = 0; n < squaredErrors.Length; n++)
        {
            error += squaredErrors[n];
            norm += squaredNorms[n];
            lost += squaredNorms[n] > 0 && isZeroAfter[n] ? 1 : 0;
            double relative = squaredNorms[n] > 0 ? Math.Sqrt(squaredErrors[n] / squaredNorms[n]) : 0;
            if (relative > worst)
            {
                (worst, worstColumn) = (relative, n);
            }
        }

        return new QuantizationError(norm > 0 ? Math.Sqrt(error / norm) : 0, worstColumn, worst, lost);
    }
}
