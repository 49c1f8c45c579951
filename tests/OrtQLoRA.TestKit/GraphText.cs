using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.TestKit;

/// <summary>Writes small graphs in tests the way one reads them.</summary>
public static class GraphText
{
    /// <summary>An empty model.</summary>
    public static OnnxModel Model(long opset = 21) => new(new OnnxGraph("test")) { IrVersion = 10, Opset = opset };

    /// <summary>Adds a graph input of a static or symbolic shape.</summary>
    public static Value Input(this OnnxGraph graph, string name, DataType type, params Dimension[] dims) => graph.AddInput(name, type, new Shape(dims));

    /// <summary>
    /// Adds a node from a line such as <c>y, z = Split(x, sizes)</c> or <c>y = com.microsoft::Gelu(x)</c>; <c>_</c>
    /// leaves an input or output out. Inputs are looked up in the graph and in the graphs around it.
    /// </summary>
    public static Node Line(this OnnxGraph graph, string line, params ReadOnlySpan<(string Name, NodeAttribute Value)> attributes)
    {
        string[] sides = line.Split('=', 2, StringSplitOptions.TrimEntries);
        int open = sides[1].IndexOf('(', StringComparison.Ordinal);
        string[] operation = sides[1][..open].Split("::");
        IEnumerable<Value?> inputs = Names(sides[1][(open + 1)..^1]).Select(name => name == "_" ? null : Find(graph, name));
        Node node = graph.AddNode(operation[^1], inputs, domain: operation.Length > 1 ? operation[0] : "");
        foreach ((string name, NodeAttribute value) in attributes)
        {
            node.SetAttribute(name, value);
        }

        foreach (string output in Names(sides[0]))
        {
            node.AddOutput(output == "_" ? "" : output);
        }

        return node;
    }

    /// <summary>Makes values of the graph its outputs.</summary>
    public static void Outputs(this OnnxGraph graph, params string[] names)
    {
        foreach (string name in names)
        {
            graph.AddOutput(Find(graph, name));
        }
    }

    /// <summary>The nodes in order, one a line, without names and types: <c>y = Add(x, w)</c>.</summary>
    public static string Lines(this OnnxGraph graph) => string.Join("\n", graph.Nodes.Select(n => n.ToString()));

    private static string[] Names(string list) => list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    private static Value Find(OnnxGraph graph, string name)
    {
        for (OnnxGraph? g = graph; g is not null; g = g.Parent)
        {
            if (g.TryGetValue(name, out Value? value))
            {
                return value;
            }
        }

        throw new ArgumentException($"There is no value '{name}' yet.", nameof(name));
    }
}
