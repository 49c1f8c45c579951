using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Finds out why a node reads a name that no earlier node has made.</summary>
internal static class DanglingName
{
    /// <summary>Says whether the name is made later, on a cycle, or not at all.</summary>
    /// <param name="name">The name.</param>
    /// <param name="reader">The node that reads it, described.</param>
    /// <param name="scopes">Graphs being read, innermost first, each at the node being read.</param>
    public static string Explain(string name, string reader, IEnumerable<GraphProtoReader.OpenScope> scopes)
    {
        foreach (GraphProtoReader.OpenScope scope in scopes)
        {
            for (int i = scope.Position; i < scope.Nodes.Count; i++)
            {
                if (scope.Nodes[i].Output.Contains(name))
                {
                    string producer = GraphProtoReader.Describe(scope.Nodes[i]);
                    return i == scope.Position || DependsOn(scope, i)
                        ? $"{reader} reads '{name}', which {producer} makes from what {reader} makes: the nodes form a cycle. ONNX graphs have none; export the model again."
                        : $"{reader} reads '{name}', which {producer} makes only later. ONNX wants nodes in execution order; sort the nodes (onnx-graphsurgeon's toposort does) or export the model again.";
                }
            }
        }

        return $"{reader} reads '{name}', which no node makes and which is neither an input nor an initializer in its reach.";
    }

    // Nodes before the position being read have been linked, so a way back leads only over later ones.
    private static bool DependsOn(GraphProtoReader.OpenScope scope, int producer)
    {
        HashSet<string> reachable = new(scope.Nodes[scope.Position].Output, StringComparer.Ordinal);
        Dictionary<string, int> makers = new(StringComparer.Ordinal);
        for (int i = scope.Position + 1; i < scope.Nodes.Count; i++)
        {
            foreach (string output in scope.Nodes[i].Output)
            {
                makers[output] = i;
            }
        }

        HashSet<int> seen = [producer];
        Stack<int> open = new(seen);
        while (open.TryPop(out int node))
        {
            foreach (string input in Names(scope.Nodes[node]))
            {
                if (reachable.Contains(input))
                {
                    return true;
                }

                if (makers.TryGetValue(input, out int maker) && seen.Add(maker))
                {
                    open.Push(maker);
                }
            }
        }

        return false;
    }

    // A node depends on its inputs and on the outer names that its subgraphs read.
    private static IEnumerable<string> Names(NodeProto node) => node.Input.Where(i => i.Length > 0)
        .Concat(node.Attribute.SelectMany(a => a.Graphs.Concat(a.G is null ? [] : [a.G])).SelectMany(g => g.Node).SelectMany(Names));
}
