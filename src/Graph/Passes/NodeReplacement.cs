using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>Puts newly made values in the place of a node's outputs.</summary>
internal static class NodeReplacement
{
    /// <summary>
    /// Removes a node; its readers read the replacements, which take over the names and details of the outputs.
    /// </summary>
    /// <param name="node">The node to remove.</param>
    /// <param name="replacements">
    /// For each output a value that a new node of the same graph makes, each value once; null where an output is not
    /// used or left out. Types that the replacements have stay.
    /// </param>
    internal static void Replace(Node node, params IReadOnlyList<Value?> replacements)
    {
        OnnxGraph graph = node.OwningGraph;
        List<(Value Replacement, string Name)> renamed = [];
        for (int i = 0; i < node.Outputs.Count; i++)
        {
            Value output = node.Outputs[i];
            if (i >= replacements.Count || replacements[i] is not Value replacement || output.Name.Length == 0)
            {
                continue;
            }

            output.ReplaceAllUsesWith(replacement);
            replacement.Type ??= output.Type;
            replacement.DocString = output.DocString;
            replacement.HasValueInfo = output.HasValueInfo;
            foreach ((string key, string value) in output.Metadata)
            {
                replacement.Metadata[key] = value;
            }

            renamed.Add((replacement, output.Name));
        }

        graph.Remove(node);
        foreach ((Value replacement, string name) in renamed)
        {
            replacement.Name = name;
        }
    }

    /// <summary>
    /// Replaces a node by copies of a body's nodes. What the body only passes through, or hands out twice, goes by way
    /// of an Identity node, since it cannot bear the name of the output.
    /// </summary>
    /// <param name="node">The node to remove.</param>
    /// <param name="copies">Nodes copied into the node's graph.</param>
    /// <param name="made">For each output the value that the body hands out; null where the output is not used.</param>
    /// <returns>The values that now stand for the outputs.</returns>
    internal static HashSet<Value> ReplaceByCopies(Node node, IEnumerable<Node> copies, IReadOnlyList<Value?> made)
    {
        HashSet<Node> makers = [.. copies];
        HashSet<Value> handedOut = [];
        Value?[] replacements = [.. made.Select(v => v is null ? null
            : v.Producer is Node producer && makers.Contains(producer) && handedOut.Add(v) ? v
            : Identity(node, v))];
        Replace(node, replacements);
        return [.. replacements.OfType<Value>()];
    }

    private static Value Identity(Node before, Value value)
    {
        OnnxGraph graph = before.OwningGraph;
        Node node = graph.AddNode("Identity", [value], before: before);
        return node.AddOutput(graph.Names.Reserve(value.Name), value.Type);
    }
}
