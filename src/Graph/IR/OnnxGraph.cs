using System.Diagnostics.CodeAnalysis;

namespace OrtQLoRA.Graph.IR;

/// <summary>
/// A graph that can be edited: inputs, outputs, initializers and nodes in execution order. Links between values
/// and nodes are kept true by the editing methods; the IR knows nothing of files or of protobuf.
/// </summary>
public sealed class OnnxGraph
{
    private readonly Dictionary<string, Value> _values = new(StringComparer.Ordinal);
    private readonly List<Value> _inputs = [];
    private readonly List<Value> _outputs = [];
    private readonly OrderedDictionary<string, Value> _initializers = new(StringComparer.Ordinal);

    /// <summary>Creates an empty graph.</summary>
    /// <param name="name">Name of the graph.</param>
    /// <param name="parent">For a subgraph: the graph around it, whose values it may read.</param>
    public OnnxGraph(string name, OnnxGraph? parent = null)
    {
        Name = name;
        Parent = parent;
        Names = parent?.Names ?? new NameAuthority();
        NodeNames = parent?.NodeNames ?? new NameAuthority();
    }

    /// <summary>Name of the graph.</summary>
    public string Name { get; set; }

    /// <summary>For a subgraph: the graph around it.</summary>
    public OnnxGraph? Parent { get; }

    /// <summary>Hands out unique names; shared with all subgraphs.</summary>
    public NameAuthority Names { get; }

    /// <summary>
    /// Hands out unique node names, which ONNX Runtime asks for; shared with all subgraphs. Files may repeat a name or
    /// leave it empty, and keep it so.
    /// </summary>
    public NameAuthority NodeNames { get; }

    /// <summary>A note to readers, if the model has one.</summary>
    public string? DocString { get; set; }

    /// <summary>Key/value pairs of the file.</summary>
    public IDictionary<string, string> Metadata { get; } = new OrderedDictionary<string, string>();

    /// <summary>Fields of the file that the IR does not model, in serialized form, for the round trip.</summary>
    public ReadOnlyMemory<byte> Unmodelled { get; set; }

    /// <summary>Values that the caller feeds, in order. Old files list initializers here too.</summary>
    public IReadOnlyList<Value> Inputs => _inputs;

    /// <summary>Inputs that the caller must feed: those without a default.</summary>
    public IEnumerable<Value> RequiredInputs => _inputs.Where(i => i.Initializer is null);

    /// <summary>Values that the caller gets, in order.</summary>
    public IReadOnlyList<Value> Outputs => _outputs;

    /// <summary>Values with constant content, in file order.</summary>
    public IReadOnlyList<Value> Initializers => _initializers.Values;

    /// <summary>First node in execution order.</summary>
    public Node? First { get; private set; }

    /// <summary>Last node in execution order.</summary>
    public Node? Last { get; private set; }

    /// <summary>Number of nodes, subgraphs not counted.</summary>
    public int NodeCount { get; private set; }

    /// <summary>Nodes in execution order. The node just yielded may be removed while enumerating.</summary>
    public IEnumerable<Node> Nodes
    {
        get
        {
            for (Node? node = First; node is not null;)
            {
                Node? next = node.Next;
                yield return node;
                node = node.Graph == this ? node.Next : next;
            }
        }
    }

    /// <summary>Every named value of this graph, subgraphs not counted.</summary>
    public IReadOnlyCollection<Value> Values => _values.Values;

    /// <summary>Finds a value of this graph by name.</summary>
    public bool TryGetValue(string name, [NotNullWhen(true)] out Value? value) => _values.TryGetValue(name, out value);

    /// <summary>Finds a value of this graph by name.</summary>
    /// <exception cref="GraphException">There is none.</exception>
    public Value GetValue(string name) => _values.TryGetValue(name, out Value? value)
        ? value
        : throw new GraphException($"Graph '{Name}' has no value '{name}'.");

    /// <summary>Adds a graph input.</summary>
    /// <exception cref="GraphException">The name is taken.</exception>
    public Value AddInput(string name, OnnxType? type)
    {
        Value value = Register(new Value(this, name, type));
        value.IsGraphInput = true;
        _inputs.Add(value);
        return value;
    }

    /// <summary>Adds a graph input of a tensor type.</summary>
    public Value AddInput(string name, DataType elementType, Shape? shape) => AddInput(name, new OnnxType.Tensor(elementType, shape));

    /// <summary>Makes an existing value (an initializer) a graph input too, as old files do.</summary>
    public void MarkAsInput(Value value)
    {
        if (!value.IsGraphInput)
        {
            value.IsGraphInput = true;
            _inputs.Add(value);
        }
    }

    /// <summary>Takes a value out of the input list; an initializer with that name stays, now constant.</summary>
    /// <exception cref="GraphException">The value has no initializer and is still read.</exception>
    public void RemoveInput(Value value)
    {
        if (value.Initializer is null && value.IsUsed)
        {
            throw new GraphException($"Input '{value.Name}' is still read by {DescribeReader(value)}.");
        }

        _inputs.Remove(value);
        value.IsGraphInput = false;
        if (value.Initializer is null)
        {
            Unregister(value);
        }
    }

    /// <summary>Adds a value with constant content.</summary>
    /// <exception cref="GraphException">The name is taken.</exception>
    public Value AddInitializer(string name, ITensor content)
    {
        Value value = Register(new Value(this, name, content.ToOnnxType()));
        SetInitializer(value, content);
        return value;
    }

    /// <summary>Gives a graph input a default, or an initializer another content.</summary>
    public void SetInitializer(Value value, ITensor content)
    {
        if (value.Producer is not null)
        {
            throw new GraphException($"Value '{value.Name}' is made by {value.Producer.Describe()} and cannot have an initializer too.");
        }

        value.Initializer = content;
        _initializers[value.Name] = value;
        if (!value.IsGraphInput)
        {
            value.Type = content.ToOnnxType();
        }
    }

    /// <summary>Removes an initializer; the value itself goes too unless it is a graph input.</summary>
    /// <exception cref="GraphException">The value is still read and is no graph input.</exception>
    public void RemoveInitializer(Value value)
    {
        if (!value.IsGraphInput && value.IsUsed)
        {
            throw new GraphException($"Initializer '{value.Name}' is still read by {DescribeReader(value)}.");
        }

        _initializers.Remove(value.Name);
        value.Initializer = null;
        if (!value.IsGraphInput)
        {
            Unregister(value);
        }
    }

    /// <summary>Turns an initializer into a graph input without default, so that the caller feeds it.</summary>
    public void ConvertInitializerToInput(Value value)
    {
        MarkAsInput(value);
        _initializers.Remove(value.Name);
        value.Initializer = null;
    }

    /// <summary>Puts the inputs into another order, for callers that feed by position.</summary>
    /// <param name="names">Each input's name once, in the new order.</param>
    /// <exception cref="GraphException">The names are not those of the inputs.</exception>
    public void OrderInputs(IReadOnlyList<string> names)
    {
        ArgumentNullException.ThrowIfNull(names);
        string[] unknown = [.. names.Where(n => !_inputs.Any(i => i.Name == n)), .. _inputs.Select(i => i.Name).Except(names)];
        if (unknown.Length > 0 || names.Count != _inputs.Count)
        {
            throw new GraphException($"Graph '{Name}' has the inputs {string.Join(", ", _inputs.Select(i => i.Name))}, not {string.Join(", ", names)}: they cannot be put into that order.");
        }

        _inputs.Clear();
        _inputs.AddRange(names.Select(n => _values[n]));
    }

    /// <summary>Hands a value to the caller, after the present outputs.</summary>
    public void AddOutput(Value value)
    {
        value.IsGraphOutput = true;
        _outputs.Add(value);
    }

    /// <summary>Takes a value out of the output list.</summary>
    public void RemoveOutput(Value value)
    {
        _outputs.RemoveAll(o => o == value);
        value.IsGraphOutput = false;
    }

    /// <summary>Hands another value to the caller in place of one.</summary>
    public void ReplaceOutput(Value value, Value replacement)
    {
        for (int i = 0; i < _outputs.Count; i++)
        {
            if (_outputs[i] == value)
            {
                _outputs[i] = replacement;
            }
        }

        value.IsGraphOutput = _outputs.Contains(value);
        replacement.IsGraphOutput = _outputs.Contains(replacement);
    }

    /// <summary>Creates a node, links its inputs and puts it before <paramref name="before"/>, or last.</summary>
    /// <param name="opType">Operator.</param>
    /// <param name="inputs">Values to read; null for optional inputs left out.</param>
    /// <param name="name">Node name; made unique from the operator if null.</param>
    /// <param name="domain">Domain; empty for ONNX's own.</param>
    /// <param name="before">The node to stand before; null for the end.</param>
    /// <returns>The node, as yet without outputs: see <see cref="Node.AddOutput"/>.</returns>
    public Node AddNode(string opType, IEnumerable<Value?> inputs, string? name = null, string domain = "", Node? before = null)
    {
        Node node = new(this, opType, domain, name ?? NodeNames.Reserve(opType));
        NodeNames.TryTake(node.Name);
        foreach (Value? input in inputs)
        {
            node.AddInput(input);
        }

        Link(node, before);
        return node;
    }

    /// <summary>Moves a node before another of this graph, or to the end.</summary>
    public void Move(Node node, Node? before)
    {
        if (node != before)
        {
            Unlink(node);
            Link(node, before);
        }
    }

    /// <summary>Removes a node and its outputs.</summary>
    /// <exception cref="GraphException">An output is still read.</exception>
    public void Remove(Node node)
    {
        foreach (Value output in node.Outputs)
        {
            if (output.IsUsed)
            {
                throw new GraphException($"{node.Describe()} cannot be removed: output '{output.Name}' is still read by {DescribeReader(output)}.");
            }
        }

        Detach(node, except: []);
    }

    /// <summary>Removes a node whose results are known: its outputs stay, under their names, as initializers.</summary>
    /// <param name="node">The node.</param>
    /// <param name="contents">The content of each output; may be null where an output is not read.</param>
    /// <exception cref="GraphException">An output that is read gets no content.</exception>
    public void ReplaceByInitializers(Node node, IReadOnlyList<ITensor?> contents)
    {
        for (int i = 0; i < node.Outputs.Count; i++)
        {
            if (node.Outputs[i].IsUsed && contents.ElementAtOrDefault(i) is null)
            {
                throw new GraphException($"{node.Describe()} cannot be replaced by constants: output '{node.Outputs[i].Name}' is read by {DescribeReader(node.Outputs[i])} and has no content.");
            }
        }

        Value[] kept = [.. node.Outputs.Where((o, i) => o.Name.Length > 0 && contents.ElementAtOrDefault(i) is not null)];
        Detach(node, except: kept);
        foreach (Value value in kept)
        {
            ITensor content = contents[value.ProducerIndex]!;
            value.Producer = null;
            value.ProducerIndex = 0;
            SetInitializer(value, content);
        }
    }

    /// <summary>Every node of this graph and of its subgraphs, outer before inner.</summary>
    public IEnumerable<Node> AllNodes() => Nodes.SelectMany(n => n.Subgraphs.SelectMany(g => g.AllNodes()).Prepend(n));

    /// <inheritdoc/>
    public override string ToString() => $"{Name} ({NodeCount} nodes)";

    internal Value CreateOutput(Node producer, string name, OnnxType? type, int index)
    {
        Value value = new(this, name, type) { Producer = producer, ProducerIndex = index };
        return name.Length == 0 ? value : Register(value);
    }

    internal void Rename(Value value, string oldName, string newName)
    {
        if (!Names.TryTake(newName))
        {
            throw new GraphException($"Value '{oldName}' cannot be renamed '{newName}': the name is taken.");
        }

        Names.Release(oldName);
        _values.Remove(oldName);
        _values[newName] = value;
        int position = _initializers.IndexOf(oldName);
        if (position >= 0)
        {
            _initializers.RemoveAt(position);
            _initializers.Insert(position, newName, value);
        }
    }

    private static string DescribeReader(Value value) => value.Uses.Count > 0 ? value.Uses[0].Node.Describe() : "the graph's outputs";

    private Value Register(Value value)
    {
        if (!_values.TryAdd(value.Name, value))
        {
            throw new GraphException($"Two values of graph '{Name}' are named '{value.Name}'; ONNX wants each name assigned once.");
        }

        Names.Take(value.Name);
        return value;
    }

    private void Unregister(Value value)
    {
        if (value.Name.Length > 0 && _values.Remove(value.Name))
        {
            Names.Release(value.Name);
        }
    }

    private void Detach(Node node, IReadOnlyCollection<Value> except)
    {
        foreach (OnnxGraph subgraph in node.Subgraphs)
        {
            subgraph.DetachNodes();
        }

        for (int i = 0; i < node.Inputs.Count; i++)
        {
            node.SetInput(i, null);
        }

        foreach (Value output in node.Outputs.Except(except))
        {
            Unregister(output);
        }

        Unlink(node);
        node.Graph = null;
    }

    private void DetachNodes()
    {
        // A removed node's subgraphs must not go on counting as readers of outer values.
        foreach (Node node in Nodes)
        {
            foreach (OnnxGraph subgraph in node.Subgraphs)
            {
                subgraph.DetachNodes();
            }

            for (int i = 0; i < node.Inputs.Count; i++)
            {
                node.SetInput(i, null);
            }
        }

        foreach (Value value in _values.Values)
        {
            Names.Release(value.Name);
        }
    }

    private void Link(Node node, Node? before)
    {
        node.Next = before;
        node.Previous = before is null ? Last : before.Previous;
        if (node.Previous is null)
        {
            First = node;
        }
        else
        {
            node.Previous.Next = node;
        }

        if (before is null)
        {
            Last = node;
        }
        else
        {
            before.Previous = node;
        }

        NodeCount++;
    }

    private void Unlink(Node node)
    {
        if (node.Previous is null)
        {
            First = node.Next;
        }
        else
        {
            node.Previous.Next = node.Next;
        }

        if (node.Next is null)
        {
            Last = node.Previous;
        }
        else
        {
            node.Next.Previous = node.Previous;
        }

        NodeCount--;
    }
}
