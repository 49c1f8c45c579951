using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.BaseWeights;

/// <summary>
/// Finds output heads that hold the same values as an embedding. PyTorch ties the two; most exporters write the table twice,
/// once of them transposed, and training both apart would not be training the model.
/// </summary>
internal static class TiedWeights
{
    private const int BlockRows = 256;

    /// <summary>Heads by the embedding whose values they repeat in an initializer of their own.</summary>
    public static ILookup<ModelParameter, ModelParameter> Find(LinearSites sites)
    {
        ModelParameter[] embeddings = [.. sites.Parameters.Where(p => p.WeightOf?.Kind == LinearKind.Embedding)];
        return sites.Parameters
            .Where(p => p.WeightOf is { Kind: LinearKind.Linear, IsOutputHead: true })
            .Select(head => (Embedding: embeddings.FirstOrDefault(e => e.Value != head.Value && HasSameValues(e, head)), Head: head))
            .Where(p => p.Embedding is not null)
            .ToLookup(p => p.Embedding!, p => p.Head);
    }

    private static bool HasSameValues(ModelParameter embedding, ModelParameter head)
    {
        if (!embedding.TorchDims.SequenceEqual(head.TorchDims) || embedding.Content.ElementType != head.Content.ElementType)
        {
            return false;
        }

        int rows = checked((int)embedding.TorchDims[0]);
        int width = checked((int)embedding.TorchDims[1]);
        for (int first = 0; first < rows; first += BlockRows)
        {
            int count = Math.Min(BlockRows, rows - first);
            if (!Block(embedding, first, count, width).AsSpan().SequenceEqual(Block(head, first, count, width)))
            {
                return false;
            }
        }

        return true;
    }

    // Rows of the matrix in PyTorch's orientation, laid out [width, count] for both so that neither needs transposing.
    private static float[] Block(ModelParameter parameter, int first, int count, int width)
    {
        float[] block = new float[count * width];
        if (parameter.IsTransposed)
        {
            long stride = parameter.Content.Dims[1];
            for (int column = 0; column < width; column++)
            {
                parameter.Content.ReadFloats((column * stride) + first, block.AsSpan(column * count, count));
            }

            return block;
        }

        float[] rows = new float[block.Length];
        parameter.Content.ReadFloats((long)first * width, rows);
        for (int row = 0; row < count; row++)
        {
            for (int column = 0; column < width; column++)
            {
                block[(column * count) + row] = rows[(row * width) + column];
            }
        }

        return block;
    }
}
