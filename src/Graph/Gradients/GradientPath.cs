using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>The values and nodes of a graph that lie between the loss and the values to differentiate by.</summary>
internal sealed class GradientPath
{
    private readonly HashSet<Value> _values;
    private readonly IReadOnlyCollection<Value> _sources;

    private GradientPath(HashSet<Value> values, List<Node> nodes, IReadOnlyCollection<Value> sources)
    {
        _values = values;
        _sources = sources;
        Nodes = nodes;
    }

    /// <summary>Nodes on the path, last first: the order of the backward pass.</summary>
    public IReadOnlyList<Node> Nodes { get; }

    /// <summary>Whether a value's gradient is needed.</summary>
    public bool Contains(Value value) => _values.Contains(value);

    /// <summary>Finds what lies between <paramref name="loss"/> and <paramref name="sources"/>.</summary>
    public static GradientPath Find(OnnxGraph graph, Value loss, IReadOnlyCollection<Value> sources)
    {
        // Forward: what depends on a source through differentiable operators and floating-point values.
        HashSet<Value> dependent = [.. sources];
        List<Node> dependentNodes = [];
        foreach (Node node in graph.Nodes)
        {
            if (!NonDifferentiableOps.Contains(node) && ReadValues(node, graph).Any(dependent.Contains))
            {
                Value[] outputs = [.. node.Outputs.Where(o => o.Name.Length > 0 && MayCarryGradient(o))];
                if (outputs.Length > 0)
                {
                    dependent.UnionWith(outputs);
                    dependentNodes.Add(node);
                }
            }
        }

        // Backward: of these, what the loss depends on.
        HashSet<Value> onPath = [];
        List<Node> nodes = [];
        if (dependent.Contains(loss))
        {
            onPath.Add(loss);
        }

        for (int i = dependentNodes.Count - 1; i >= 0; i--)
        {
            Node node = dependentNodes[i];
            if (node.Outputs.Any(onPath.Contains))
            {
                onPath.UnionWith(ReadValues(node, graph).Where(dependent.Contains));
                nodes.Add(node);
            }
        }

        return new GradientPath(onPath, nodes, sources);
    }

    /// <summary>
    /// The first operator that rounds activations to integers between a source and the loss, and the source; null if there is
    /// none.
    /// </summary>
    public static (Node Quantizer, Value Source)? FindQuantizer(OnnxGraph graph, Value loss, IReadOnlyCollection<Value> sources)
    {
        Dictionary<Value, Value> dependent = sources.ToDictionary(s => s);
        Dictionary<Value, (Node, Value)> rounded = [];
        foreach (Node node in graph.Nodes.Where(n => !n.Is("Shape") && !n.Is("Size") && !NonDifferentiableOps.IsDetached(n)))
        {
            Value[] read = [.. ReadValues(node, graph)];
            (Node, Value)? origin = read.Where(rounded.ContainsKey).Select(v => ((Node, Value)?)rounded[v]).FirstOrDefault();
            Value? source = read.Select(v => dependent.GetValueOrDefault(v)).FirstOrDefault(v => v is not null);
            if (source is not null && NonDifferentiableOps.Contains(node) && UntrainableOps.Remedy(node) is not null)
            {
                origin ??= (node, source);
            }

            foreach (Value output in node.Outputs)
            {
                if (origin is { } known)
                {
                    rounded[output] = known;
                }

                if (source is not null && MayCarryGradient(output) && !NonDifferentiableOps.Contains(node))
                {
                    dependent[output] = source;
                }
            }
        }

        return rounded.TryGetValue(loss, out (Node, Value) found) ? found : null;
    }

    /// <summary>A value to differentiate by that lies behind a node, for error messages.</summary>
    public Value? FindSourceBehind(Node node)
    {
        HashSet<Value> sources = [.. _sources];
        HashSet<Value> seen = [];
        Stack<Value> open = new(ReadValues(node, node.OwningGraph).Where(Contains));
        while (open.TryPop(out Value? value))
        {
            if (sources.Contains(value))
            {
                return value;
            }

            if (seen.Add(value) && value.Producer is { } producer)
            {
                foreach (Value input in ReadValues(producer, producer.OwningGraph).Where(Contains))
                {
                    open.Push(input);
                }
            }
        }

        return null;
    }

    // Values of the graph that a node reads itself or through its subgraphs.
    private static IEnumerable<Value> ReadValues(Node node, OnnxGraph graph)
    {
        foreach (Value? input in node.Inputs)
        {
            if (input is not null)
            {
                yield return input;
            }
        }

        foreach (OnnxGraph subgraph in node.Subgraphs)
        {
            foreach (Value? captured in subgraph.AllNodes().SelectMany(n => n.Inputs).Concat(subgraph.Outputs))
            {
                if (captured is not null && captured.Graph == graph)
                {
                    yield return captured;
                }
            }
        }
    }

    // A value of unknown type might be a float; the walk says so when it has to give it a gradient.
    private static bool MayCarryGradient(Value value) =>
        value.Type is null || value.ElementType == DataType.Undefined || value.ElementType.IsFloatingPoint();
}
