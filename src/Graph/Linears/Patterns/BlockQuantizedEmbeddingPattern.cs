using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears.Patterns;

/// <summary>com.microsoft GatherBlockQuantized: a lookup in a table [vocabulary, dim] of packed integers.</summary>
internal static class BlockQuantizedEmbeddingPattern
{
    /// <summary>Recognises the node, or returns null.</summary>
    public static LinearSite? Match(Node node)
    {
        if (!node.Is("GatherBlockQuantized", "com.microsoft")
            || node.GetInt("gather_axis", 0) is not (0 or -2)
            || node.InputOrNull(0) is not { } table
            || ConstantContent.DefaultOf(table) is not { Dims: [long rows, long stored] } content
            || node.InputOrNull(1) is not { } ids)
        {
            return null;
        }

        long perElement = content.ElementType == DataType.UInt8 ? 8 / Math.Clamp(node.GetInt("bits", 4), 1, 8) : 1;
        return new LinearSite
        {
            Kind = LinearKind.Embedding,
            Node = node,
            WeightIndex = 0,
            Weight = table,
            Content = content,
            Storage = WeightStorage.GatherBlockQuantized,
            IsOutByIn = false,
            InFeatures = rows,
            OutFeatures = stored * perElement,
            Input = ids,
        };
    }
}
