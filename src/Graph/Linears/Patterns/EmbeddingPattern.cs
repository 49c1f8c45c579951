using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears.Patterns;

/// <summary>Gather along axis 0 of a constant float matrix.</summary>
internal static class EmbeddingPattern
{
    /// <summary>Recognises the node, or returns null.</summary>
    public static LinearSite? Match(Node node)
    {
        if (!node.Is("Gather")
            || node.GetInt("axis", 0) is not (0 or -2)
            || WeightTrace.Of(node.InputOrNull(0)) is not { IsFloat: true, Content.Dims: [long first, long second] } trace
            || node.InputOrNull(1) is not { } ids)
        {
            return null;
        }

        return new LinearSite
        {
            Kind = LinearKind.Embedding,
            Node = node,
            WeightIndex = 0,
            Weight = trace.Root,
            Content = trace.Content,
            WeightChain = trace.Chain,
            Slice = trace.Slice,
            Storage = trace.Storage,
            IsOutByIn = trace.IsTransposed,
            InFeatures = trace.IsTransposed ? second : first,
            OutFeatures = trace.IsTransposed ? first : second,
            Input = ids,
        };
    }
}
