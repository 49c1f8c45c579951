using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Quantization.Sensitivity;

/// <summary>Measures what a weight format costs single layers; one weight at a time is in memory.</summary>
public static class SensitivityAnalysis
{
    // Passes of the randomized decomposition: the error's spectrum is flat, and only sums of squared values matter here.
    private const int Iterations = 2;

    // What is drawn for the decompositions is nobody's to choose: the same model gives the same report.
    private const int Seed = 0;

    /// <summary>Measures one layer.</summary>
    /// <param name="module">A linear layer with a float weight.</param>
    /// <param name="format">The format.</param>
    /// <param name="inputs">Inputs of the layer, rows being positions [positions, in]; null for none.</param>
    /// <param name="ranks">How many ranks of an adapter are looked at; 0 for none, which saves the decomposition.</param>
    /// <exception cref="ModelFormatException">The weight holds infinities, NaN or values beyond the format's range.</exception>
    /// <exception cref="ConfigurationException">The weight cannot be read as a matrix.</exception>
    public static LayerSensitivity Measure(LinearModule module, IWeightFormat format, IReadOnlyList<Matrix>? inputs, int ranks)
    {
        ArgumentNullException.ThrowIfNull(module);
        ArgumentNullException.ThrowIfNull(format);
        WeightMatrix matrix = WeightMatrix.Of(module.Sites[0]);
        IQuantizedWeight quantized = format.Quantize(matrix);
        LayerSensitivity result = new(module.Path, module.InFeatures, module.OutFeatures, matrix.ByteLength, quantized.ByteLength, quantized.Error);
        if (inputs is null && ranks == 0)
        {
            return result;
        }

        Matrix weight = BaseWeight.Read(module);
        Matrix error = weight.Clone();
        error.Add(Dequantized(module, quantized), -1);
        if (inputs is not null)
        {
            Matrix x = Stacked(inputs);
            weight = x.Multiply(weight.Transpose());
            error = x.Multiply(error.Transpose());
        }

        double norm = SquaredNorm(weight);
        return result with
        {
            OutputError = inputs is null ? null : norm > 0 ? Math.Sqrt(SquaredNorm(error) / norm) : 0,
            RankGains = norm > 0 ? Gains(module.Path, error, ranks, norm) : [],
        };
    }

    private static double[] Gains(string path, Matrix error, int ranks, double norm)
    {
        int rank = Math.Min(ranks, Math.Min(error.Rows, error.Columns));
        if (rank == 0 || SquaredNorm(error) == 0)
        {
            return [];
        }

        ReproducibleRandom random = new(Seed, path + ".sensitivity");
        float[] values = Decompositions.RandomizedSvd(error, rank, Iterations, random.NextGaussian).S;
        return [.. values.Select(s => (double)s * s / norm)];
    }

    // [out, in], Gemm's factor included as in the weight that is read.
    private static Matrix Dequantized(LinearModule module, IQuantizedWeight quantized)
    {
        Matrix result = new((int)module.OutFeatures, (int)module.InFeatures);
        quantized.DequantizeColumns(0, result.Values);
        result.Scale(module.Sites[0].WeightFactor);
        return result;
    }

    private static Matrix Stacked(IReadOnlyList<Matrix> parts)
    {
        Matrix result = new(parts.Sum(p => p.Rows), parts[0].Columns);
        int at = 0;
        foreach (Matrix part in parts)
        {
            part.Values.CopyTo(result.Values, at);
            at += part.Values.Length;
        }

        return result;
    }

    private static double SquaredNorm(Matrix matrix) => matrix.RowNorms().Sum(n => (double)n * n);
}
