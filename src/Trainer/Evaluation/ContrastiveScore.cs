using System.Numerics.Tensors;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;

namespace OrtQLoRA.Trainer.Evaluation;

/// <summary>
/// Scores embeddings as <see cref="ContrastiveLoss"/> does: the loss, and how many anchors find their own candidate first
/// among those of the batch.
/// </summary>
internal static class ContrastiveScore
{
    /// <summary>Scores a batch.</summary>
    /// <param name="output">Hidden states [rows, sequence, hidden] or embeddings [rows, hidden].</param>
    /// <param name="mask">Attention mask [rows, sequence]; null if the model takes none.</param>
    /// <param name="labels">For each anchor the row of its positive, -100 for candidates.</param>
    /// <param name="options">Pooling and scale.</param>
    internal static LogitsScore Of(DenseTensor output, DenseTensor? mask, DenseTensor labels, TrainingOptions options)
    {
        if (output.Dims.Length is not (2 or 3))
        {
            throw new GraphException($"The model's output has the shape [{string.Join(", ", output.Dims)}]; embeddings are [rows, hidden], hidden states [rows, sequence, hidden].");
        }

        long[] positives = labels.ToInt64s();
        float[][] vectors = Vectors(output, mask, options.Pooling);
        int[] candidates = [.. Enumerable.Range(0, positives.Length).Where(i => positives[i] == TrainingExample.IgnoreIndex)];
        LogitsScore score = default;
        for (int anchor = 0; anchor < positives.Length; anchor++)
        {
            if (positives[anchor] != TrainingExample.IgnoreIndex)
            {
                float[] logits = [.. candidates.Select(c => (float)options.SimilarityScale * TensorPrimitives.Dot<float>(vectors[anchor], vectors[c]))];
                score = score.Add(logits, Array.IndexOf(candidates, (int)positives[anchor]));
            }
        }

        return score;
    }

    private static float[][] Vectors(DenseTensor output, DenseTensor? mask, Pooling pooling)
    {
        int hidden = (int)output.Dims[^1];
        int rows = (int)output.Dims[0];
        int length = output.Dims.Length == 3 ? (int)output.Dims[1] : 1;
        float[] states = output.ToFloats();
        DenseTensor? attended = output.Dims.Length == 3 ? mask : null;
        float[][] vectors = new float[rows][];
        for (int row = 0; row < rows; row++)
        {
            float[] vector = new float[hidden];
            int[] tokens = [.. Enumerable.Range(0, length).Where(t => attended is null || IsAttended(attended, (row * length) + t))];
            int[] pooled = pooling switch
            {
                Pooling.Mean => tokens,
                Pooling.Cls => [0],
                _ => [.. tokens.TakeLast(1)],
            };
            foreach (int token in pooled)
            {
                TensorPrimitives.Add(vector, states.AsSpan(((row * length) + token) * hidden, hidden), vector);
            }

            // Of a mean only the direction counts.
            float norm = Math.Max(TensorPrimitives.Norm<float>(vector), (float)ContrastiveLoss.SmallestNorm);
            TensorPrimitives.Divide(vector, norm, vector);
            vectors[row] = vector;
        }

        return vectors;
    }

    /// <summary>Masks are of any element type; in each, only 0 is all zero bits.</summary>
    private static bool IsAttended(DenseTensor mask, int index)
    {
        int size = (int)mask.ElementType.ByteLength(1);
        return mask.Data.Span.Slice(index * size, size).IndexOfAnyExcept((byte)0) >= 0;
    }
}
