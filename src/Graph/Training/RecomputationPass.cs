using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Training;

/// <summary>
/// Gradient checkpointing (Chen et al., arXiv 1604.06174) in a training graph: values between two cuts of the forward pass are
/// not kept for the backward pass but computed again from the first cut. A cut is a value through which everything that
/// depends on a parameter passes, such as the residual stream between decoder layers.
/// </summary>
/// <remarks>
/// The copies must not run before the backward pass comes to their segment, and no runtime may find that they equal the
/// originals. Both is ensured by data: the copies read <c>cut + 0 * g</c>, where g is one number of the gradient with which the
/// backward pass enters the segment. Masks of dropout are functions of the pass's number, so the copies draw the same ones.
/// </remarks>
internal sealed class RecomputationPass
{
    /// <summary>Operators that draw other numbers each time they run.</summary>
    private static readonly HashSet<string> Random =
        ["Dropout", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"];

    private readonly OnnxGraph _graph;
    private readonly long _opset;
    private readonly HashSet<Node> _forward;
    private readonly Dictionary<Node, int> _position;
    private readonly HashSet<Value> _gradients = [];

    /// <summary>Prepares the pass.</summary>
    /// <param name="model">The training model, its backward pass appended.</param>
    /// <param name="forward">The nodes that were there before the backward pass.</param>
    /// <param name="seed">The value from which gradients start, the loss's weight.</param>
    internal RecomputationPass(OnnxModel model, IReadOnlyCollection<Node> forward, Value seed)
    {
        _graph = model.Graph;
        _opset = model.Opset;
        _forward = [.. forward];
        _position = _graph.Nodes.Index().ToDictionary(n => n.Item, n => n.Index);
        _gradients.Add(seed);
        foreach (Node node in _graph.Nodes.Where(n => !_forward.Contains(n) && n.Inputs.Any(i => i is not null && _gradients.Contains(i))))
        {
            _gradients.UnionWith(node.Outputs);
        }
    }

    /// <summary>Makes the backward pass compute segments again.</summary>
    /// <param name="parameters">Names of what is trained.</param>
    /// <returns>How many segments are.</returns>
    internal int Run(IEnumerable<string> parameters)
    {
        Node[] trained = Trained([.. parameters.Select(_graph.GetValue)]);
        int count = 0;
        Value? start = null;
        List<Node> segment = [];
        foreach ((Node node, Value? cut) in Cuts(trained))
        {
            segment.Add(node);
            if (cut is not null)
            {
                count += start is not null && Recompute(start, segment, cut) ? 1 : 0;
                start = cut;
                segment.Clear();
            }
        }

        return count;
    }

    /// <summary>Forward nodes that depend on a parameter, in order.</summary>
    private Node[] Trained(HashSet<Value> reached)
    {
        List<Node> nodes = [];
        foreach (Node node in _graph.Nodes.Where(n => _forward.Contains(n) && n.Inputs.Any(i => i is not null && reached.Contains(i))))
        {
            reached.UnionWith(node.Outputs);

            // What is computed from parameters alone is small, lies outside the stream of activations, and stays.
            if (node.Inputs.Any(i => i is { IsGraphInput: false, Initializer: null }))
            {
                nodes.Add(node);
            }
        }

        return [.. nodes];
    }

    /// <summary>Each node with the cut behind it, if there is one.</summary>
    private static IEnumerable<(Node Node, Value? Cut)> Cuts(Node[] nodes)
    {
        Dictionary<Node, int> order = nodes.Index().ToDictionary(n => n.Item, n => n.Index);
        HashSet<Value> live = [];
        for (int i = 0; i < nodes.Length; i++)
        {
            foreach (Value output in nodes[i].Outputs.Where(o => LastReader(o, order) > i))
            {
                live.Add(output);
            }

            live.RemoveWhere(v => LastReader(v, order) <= i);
            yield return (nodes[i], live.Count == 1 ? live.Single() : null);
        }
    }

    private static int LastReader(Value value, Dictionary<Node, int> order) => value.Uses.Select(u => order.GetValueOrDefault(u.Node, -1)).DefaultIfEmpty(-1).Max();

    private bool Recompute(Value start, List<Node> segment, Value end)
    {
        HashSet<Value> interior = [.. segment.SelectMany(n => n.Outputs).Where(o => o != end)];
        Use[] readers = [.. interior.SelectMany(v => v.Uses.Where(u => _position.ContainsKey(u.Node) && !_forward.Contains(u.Node)))];
        if (readers.Length == 0 || segment.Count < 2 || segment.Any(n => n.Subgraphs.Any() || Random.Contains(n.OpType)))
        {
            return false;
        }

        int first = readers.Min(r => _position[r.Node]);
        if (Entry(interior, first) is not Value gradient)
        {
            return false;
        }

        GraphBuilder builder = new(_graph, _opset, _graph.Nodes.ElementAt(first)) { Scope = "recompute/" };
        Dictionary<Value, Value> copies = new() { [start] = Delayed(builder, start, gradient) };
        foreach (Node node in Needed(segment, interior))
        {
            Copy(builder, node, copies);
        }

        foreach (Use reader in readers)
        {
            reader.Node.SetInput(reader.Index, copies[reader.Node.Inputs[reader.Index]!]);
        }

        Renumber();
        return true;
    }

    /// <summary>
    /// The gradient with which the backward pass enters a segment: the last made before the first reader of the segment's
    /// values, of those that the readers and what follows from them read.
    /// </summary>
    private Value? Entry(HashSet<Value> interior, int first)
    {
        HashSet<Value> derived = [.. interior];
        Value? entry = null;
        foreach (Node node in _graph.Nodes.Skip(first).Where(n => _position.ContainsKey(n) && !_forward.Contains(n) && n.Inputs.Any(i => i is not null && derived.Contains(i))))
        {
            derived.UnionWith(node.Outputs);
            foreach (Value input in node.Inputs.OfType<Value>().Where(i => !derived.Contains(i) && _gradients.Contains(i) && i.ElementType.IsFloatingPoint()))
            {
                if (input.Producer is Node producer && _position.GetValueOrDefault(producer, int.MaxValue) < first
                    && (entry is null || _position[producer] > _position[entry.Producer!]))
                {
                    entry = input;
                }
            }
        }

        return entry;
    }

    /// <summary>The cut again, not before a gradient is there.</summary>
    private static Value Delayed(GraphBuilder builder, Value start, Value gradient)
    {
        Value flat = builder.Reshape(gradient, -1);
        Value number = builder.Op("Gather", [flat, builder.Scalar(0L)], ("axis", 0L));
        return builder.Add(start, builder.Mul(builder.Cast(number, start.ElementType), builder.ScalarLike(start, 0)));
    }

    /// <summary>The nodes whose outputs are read backward, directly or through other nodes of the segment, in order.</summary>
    private List<Node> Needed(List<Node> segment, HashSet<Value> interior)
    {
        HashSet<Node> needed = [];
        foreach (Node node in segment.AsEnumerable().Reverse())
        {
            if (node.Outputs.Where(interior.Contains).Any(o => o.Uses.Any(u => !_forward.Contains(u.Node) || needed.Contains(u.Node))))
            {
                needed.Add(node);
            }
        }

        return [.. segment.Where(needed.Contains)];
    }

    private static void Copy(GraphBuilder builder, Node node, Dictionary<Value, Value> copies)
    {
        (string, NodeAttribute)[] attributes = [.. node.Attributes.Select(a => (a.Key, a.Value))];
        Node copy = builder.Emit(node.OpType, node.Domain, node.Inputs.Select(i => i is not null && copies.TryGetValue(i, out Value? c) ? c : i), node.Outputs.Count, attributes);
        foreach ((Value original, Value output) in node.Outputs.Zip(copy.Outputs))
        {
            output.Type = original.Type;
            copies[original] = output;
        }
    }

    private void Renumber()
    {
        foreach ((int index, Node node) in _graph.Nodes.Index())
        {
            _position[node] = index;
        }
    }
}
