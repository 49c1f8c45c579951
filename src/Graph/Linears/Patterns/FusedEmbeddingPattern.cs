using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears.Patterns;

/// <summary>com.microsoft EmbedLayerNormalization, which holds the word, position and segment embeddings of an encoder.</summary>
internal static class FusedEmbeddingPattern
{
    // Inputs that hold a table, and the inputs that hold its row numbers; positions may be counted by the operator itself.
    private static readonly (int Table, int Rows)[] Tables = [(2, 0), (3, 8), (4, 1)];

    /// <summary>The embeddings of a node; none if it is another operator.</summary>
    public static IEnumerable<LinearSite> Match(Node node)
    {
        if (!node.Is("EmbedLayerNormalization", "com.microsoft"))
        {
            yield break;
        }

        foreach ((int table, int rows) in Tables)
        {
            if (WeightTrace.Of(node.InputOrNull(table)) is { IsFloat: true, Slice: null, Content.Dims: [long first, long second] } trace
                && (node.InputOrNull(rows) ?? (table == 3 ? node.InputOrNull(0) : null)) is { } input)
            {
                yield return new LinearSite
                {
                    Kind = LinearKind.Embedding,
                    Node = node,
                    WeightIndex = table,
                    Weight = trace.Root,
                    Content = trace.Content,
                    WeightChain = trace.Chain,
                    Storage = trace.Storage,
                    IsOutByIn = trace.IsTransposed,
                    InFeatures = trace.IsTransposed ? second : first,
                    OutFeatures = trace.IsTransposed ? first : second,
                    Input = input,
                    IsFused = true,
                };
            }
        }
    }
}
