using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>
/// CorDA's factors: the singular vectors of <c>W C</c>, C being the covariance of the layer's inputs, brought back by its inverse.
/// </summary>
internal static class CordaStart
{
    private const double FirstDamping = 0.01;
    private const double LargestError = 0.05;
    private const int MostDoublings = 30;

    public static (Matrix A, Matrix B) Factors(LoraLayer layer, bool takesLast, BasePreparation preparation)
    {
        if (preparation.Statistics is not { } statistics)
        {
            throw new ConfigurationException("init_lora_weights 'corda' looks at the layers' inputs: it needs calibration data (TrainingGraphOptions.Statistics; train takes its own data), or an adapter that was started so.");
        }

        Matrix covariance = Covariance(statistics.Inputs(layer.Module.Path, countedOnly: false), (int)layer.Module.InFeatures);
        (Matrix damped, Matrix inverse) = Damp(covariance);
        Matrix oriented = BasePreparation.Weight(layer.Module).Multiply(damped);
        (Matrix u, float[] s, Matrix vt) = takesLast ? Decompositions.SmallestSvd(oriented, layer.Rank) : Decompositions.Svd(oriented, layer.Rank);
        return LoraPreparation.Split(u, s, vt.Multiply(inverse), layer.Scaling);
    }

    // Mean over the batches of x^T x, each batch divided by the magnitude of its largest signed value, as PEFT does.
    private static Matrix Covariance(IReadOnlyList<Matrix> inputs, int width)
    {
        Matrix sum = new(width, width);
        foreach (Matrix batch in inputs)
        {
            Matrix scaled = batch.Clone();
            scaled.Scale(1 / Math.Abs(batch.Values.Max()));
            sum.Add(scaled.Transpose().Multiply(scaled), 1f / inputs.Count);
        }

        return sum;
    }

    private static (Matrix Damped, Matrix Inverse) Damp(Matrix covariance)
    {
        double mean = 0;
        for (int i = 0; i < covariance.Rows; i++)
        {
            mean += covariance[i, i] / (double)covariance.Rows;
        }

        double damping = FirstDamping;
        for (int attempt = 0; attempt < MostDoublings; attempt++, damping *= 2)
        {
            Matrix damped = covariance.Clone();
            damped.Add(Matrix.Identity(damped.Rows), (float)(damping * mean));
            Matrix inverse = Decompositions.Inverse(damped);
            Matrix error = damped.Multiply(inverse);
            error.Add(Matrix.Identity(damped.Rows), -1);
            if (error.RowNorms().Sum(n => (double)n * n) < LargestError * LargestError)
            {
                return (damped, inverse);
            }
        }

        throw new ConfigurationException("The covariance of the layer's inputs cannot be inverted, however it is damped; give more or other calibration data.");
    }
}
