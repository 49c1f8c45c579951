using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;

namespace OrtQLoRA.Trainer.Evaluation;

/// <summary>Sums over the counted targets of a batch, computed in double from a model's output.</summary>
/// <param name="LossSum">Sum of cross-entropies or squared errors.</param>
/// <param name="Counted">Number of targets.</param>
/// <param name="Correct">Targets whose logit is the largest.</param>
internal readonly record struct LogitsScore(double LossSum, long Counted, long Correct)
{
    /// <summary>Scores an output against the batch's labels or targets.</summary>
    /// <exception cref="GraphException">The output's shape does not fit the task.</exception>
    internal static LogitsScore Of(TrainingTask task, DenseTensor output, DenseTensor labels) => task switch
    {
        TrainingTask.Regression => SquaredError(output, labels),
        TrainingTask.CausalLm => CrossEntropy(output, labels, shift: 1),
        _ => CrossEntropy(output, labels, shift: 0),
    };

    private static LogitsScore SquaredError(DenseTensor output, DenseTensor target)
    {
        float[] actual = output.ToFloats();
        float[] expected = target.ToFloats();
        if (actual.Length != expected.Length)
        {
            throw new GraphException(
                $"The model's output has the shape [{string.Join(", ", output.Dims)}], the target [{string.Join(", ", target.Dims)}]; they must hold as many numbers.");
        }

        double sum = actual.Zip(expected, (a, e) => ((double)a - e) * ((double)a - e)).Sum();
        return new LogitsScore(sum, actual.Length, 0);
    }

    private static LogitsScore CrossEntropy(DenseTensor logits, DenseTensor labels, int shift)
    {
        long[] targets = labels.ToInt64s();
        int classes = (int)logits.Dims[^1];
        long rows = logits.ElementCount() / Math.Max(classes, 1);
        if (rows != targets.Length)
        {
            throw new GraphException(
                $"The model's output has the shape [{string.Join(", ", logits.Dims)}], the labels [{string.Join(", ", labels.Dims)}]; "
                + "the output must have one row of logits for each label.");
        }

        int length = shift == 0 ? 1 : (int)labels.Dims[^1];
        float[] row = new float[classes];
        LogitsScore score = default;
        for (long i = 0; i < rows; i++)
        {
            long target = (i % length) + shift < length || shift == 0 ? targets[i + shift] : TrainingExample.IgnoreIndex;
            if (target != TrainingExample.IgnoreIndex)
            {
                logits.ReadFloats(i * classes, row);
                score = score.Add(row, target);
            }
        }

        return score;
    }

    /// <summary>The sums with one more target.</summary>
    internal LogitsScore Add(float[] row, long target)
    {
        double largest = double.NegativeInfinity;
        int best = 0;
        for (int i = 0; i < row.Length; i++)
        {
            if (row[i] > largest)
            {
                (largest, best) = (row[i], i);
            }
        }

        double sum = 0;
        foreach (float logit in row)
        {
            sum += Math.Exp(logit - largest);
        }

        return new LogitsScore(LossSum + largest + Math.Log(sum) - row[target], Counted + 1, Correct + (best == target ? 1 : 0));
    }
}
