using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>
/// Computes forms of frozen weights (dequantized, converted, transposed) where they are used and once for each use. Made
/// once for forward and backward, a weight's float form would live through the whole step; made anew it lives for one
/// product, and making it costs far less than the product.
/// </summary>
internal static class WeightRematerialization
{
    /// <summary>Initializers below this size are not worth it.</summary>
    private const long SmallestWeight = 1 << 14;

    internal static void Run(OnnxGraph graph)
    {
        HashSet<Node> forms = FindForms(graph);

        // From the last to the first: the copies of a form of a form are there before its source is looked at, so that each
        // gets a source of its own. Copies need no visit: they have one use.
        foreach (Node node in graph.Nodes.Reverse().Where(forms.Contains).ToArray())
        {
            Value form = node.Outputs[0];
            if (form.IsGraphOutput || form.Uses.Any(u => u.Node.Graph != graph))
            {
                continue;
            }

            Use[] uses = [.. form.Uses];
            foreach (Use use in uses.Skip(1))
            {
                use.Node.SetInput(use.Index, Copy(graph, node, use.Node));
            }

            if (uses.Length > 0)
            {
                graph.Move(node, uses[0].Node);
            }
        }
    }

    /// <summary>Nodes with one output that depend on constants only, at least one of them large.</summary>
    private static HashSet<Node> FindForms(OnnxGraph graph)
    {
        HashSet<Node> forms = [];
        foreach (Node node in graph.Nodes)
        {
            Value[] inputs = [.. node.Inputs.OfType<Value>()];
            bool constant = inputs.Length > 0 && inputs.All(i => i.IsConstant || (i.Producer is Node p && forms.Contains(p)));
            bool large = inputs.Any(i => i.Initializer?.ByteLength >= SmallestWeight || (i.Producer is Node p && forms.Contains(p)));
            if (constant && large && node.Outputs.Count == 1 && !node.Subgraphs.Any())
            {
                forms.Add(node);
            }
        }

        return forms;
    }

    private static Value Copy(OnnxGraph graph, Node node, Node before)
    {
        Node copy = graph.AddNode(node.OpType, node.Inputs, graph.NodeNames.Reserve(node.Name), node.Domain, before);
        foreach ((string name, NodeAttribute attribute) in node.Attributes)
        {
            copy.SetAttribute(name, attribute);
        }

        return copy.AddOutput(graph.Names.Reserve(node.Outputs[0].Name), node.Outputs[0].Type);
    }
}
