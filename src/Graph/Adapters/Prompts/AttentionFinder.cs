using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters.Prompts;

/// <summary>Finds the attentions of a model by their softmax: the product of queries and keys before it, that with the values behind it.</summary>
internal static class AttentionFinder
{
    // Nodes between a softmax and the products around it: scale, mask, casts.
    private const int Reach = 12;

    /// <summary>Keys and values of each attention, in graph order.</summary>
    public static IReadOnlyList<(AttentionPart Keys, AttentionPart Values)> Find(OnnxGraph graph)
    {
        List<(AttentionPart, AttentionPart)> found = [];
        foreach (Node softmax in graph.Nodes.Where(n => n.Is("Softmax")))
        {
            if (Scores(softmax.Inputs[0], Reach) is { } scores && Weighted(softmax.Outputs[0], Reach) is { } weighted)
            {
                // Scores are [batch, head, query, key]: the keys' operand is [batch, head, feature, position].
                found.Add((Trace(scores, 1, [0, 1, 3, 2]), Trace(weighted, 1, [0, 1, 2, 3])));
            }
        }

        return found;
    }

    private static Node? Scores(Value? value, int reach)
    {
        if (value?.Producer is not { } node || reach == 0)
        {
            return null;
        }

        if (node.Is("MatMul"))
        {
            return node.Inputs.All(i => i!.Initializer is null) && node.Outputs[0].Shape is null or { Rank: 4 } ? node : null;
        }

        return node.OpType is "Add" or "Sub" or "Mul" or "Div" or "Where" or "Cast" or "Identity" or "Clip" or "Tanh"
            ? node.Inputs.Select(i => Scores(i, reach - 1)).FirstOrDefault(n => n is not null)
            : null;
    }

    private static Node? Weighted(Value value, int reach)
    {
        foreach (Use use in value.Uses)
        {
            if (use.Node.Is("MatMul") && use.Index == 0)
            {
                return use.Node;
            }

            if (reach > 0 && use.Node.OpType is "Cast" or "Identity" or "Dropout" or "Where" or "Mul" && Weighted(use.Node.Outputs[0], reach - 1) is { } found)
            {
                return found;
            }
        }

        return null;
    }

    // Back over transpositions and products with scalars, which exporters put between the heads and the product.
    private static AttentionPart Trace(Node reader, int index, long[] axes)
    {
        while (reader.Inputs[index]?.Producer is { } node)
        {
            if (node.Is("Transpose") && node.GetInts("perm") is { Length: 4 } perm)
            {
                axes = [.. axes.Select(a => perm[a])];
                (reader, index) = (node, 0);
            }
            else if (node.OpType is "Mul" or "Div" && ScaledInput(node) is { } scaled)
            {
                (reader, index) = (node, scaled);
            }
            else if (node.OpType is "Cast" or "Identity")
            {
                (reader, index) = (node, 0);
            }
            else
            {
                break;
            }
        }

        return new AttentionPart(reader, index, axes);
    }

    private static int? ScaledInput(Node node) =>
        node.Inputs[1]?.Shape is { ElementCount: 1 } ? 0
        : node.Is("Mul") && node.Inputs[0]?.Shape is { ElementCount: 1 } ? 1
        : null;
}
