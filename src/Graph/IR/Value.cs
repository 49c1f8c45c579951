namespace OrtQLoRA.Graph.IR;

/// <summary>
/// A named edge of a graph: a graph input, an initializer, or an output of a node. Knows where it is made and
/// read. Created by <see cref="OnnxGraph"/> and by <see cref="Node"/>, which keep the links true.
/// </summary>
public sealed class Value
{
    private readonly List<Use> _uses = [];
    private string _name;

    internal Value(OnnxGraph graph, string name, OnnxType? type)
    {
        Graph = graph;
        _name = name;
        Type = type;
    }

    /// <summary>The graph that owns the value.</summary>
    public OnnxGraph Graph { get; internal set; }

    /// <summary>Name, unique in the graph. Setting it renames the value wherever it is read.</summary>
    /// <exception cref="GraphException">Another value has the name.</exception>
    public string Name
    {
        get => _name;
        set
        {
            if (value != _name)
            {
                Graph.Rename(this, _name, value);
                _name = value;
            }
        }
    }

    /// <summary>Type, as far as it is known.</summary>
    public OnnxType? Type { get; set; }

    /// <summary>Element type of a tensor; Undefined if unknown or not a tensor.</summary>
    public DataType ElementType => Type is OnnxType.Tensor tensor ? tensor.ElementType : DataType.Undefined;

    /// <summary>Shape of a tensor; null if the rank is not known or the value is no tensor.</summary>
    public Shape? Shape => Type is OnnxType.Tensor tensor ? tensor.Shape : null;

    /// <summary>The node that makes the value; null for graph inputs and initializers.</summary>
    public Node? Producer { get; internal set; }

    /// <summary>Position among the producer's outputs.</summary>
    public int ProducerIndex { get; internal set; }

    /// <summary>The constant content (or default, if the value is a graph input too); null if it has none.</summary>
    public ITensor? Initializer { get; internal set; }

    /// <summary>Whether the value is fed by the caller; an initializer that is an input too is only a default.</summary>
    public bool IsGraphInput { get; internal set; }

    /// <summary>Whether the caller gets the value.</summary>
    public bool IsGraphOutput { get; internal set; }

    /// <summary>Whether the content is fixed: an initializer that is not a graph input.</summary>
    public bool IsConstant => Initializer is not null && !IsGraphInput;

    /// <summary>Where the value is read by nodes, subgraphs included, in no particular order.</summary>
    public IReadOnlyList<Use> Uses => _uses;

    /// <summary>Whether any node or the caller reads the value.</summary>
    public bool IsUsed => _uses.Count > 0 || IsGraphOutput;

    /// <summary>A note to readers, if the model has one.</summary>
    public string? DocString { get; set; }

    /// <summary>Whether the file described the value among its inner values (<c>value_info</c>).</summary>
    public bool HasValueInfo { get; set; }

    /// <summary>Key/value pairs that the file holds for this value.</summary>
    public IDictionary<string, string> Metadata { get; } = new OrderedDictionary<string, string>();

    /// <summary>Fields of the file that the IR does not model, in serialized form, for the round trip.</summary>
    public ReadOnlyMemory<byte> Unmodelled { get; set; }

    /// <summary>
    /// Makes every reader of this value, and the graph's output list, use <paramref name="replacement"/> instead.
    /// </summary>
    /// <param name="replacement">The value to read instead; its name does not change.</param>
    /// <param name="except">Nodes that go on reading this value, for example those that compute the replacement; null for none.</param>
    public void ReplaceAllUsesWith(Value replacement, IReadOnlySet<Node>? except = null)
    {
        foreach (Use use in _uses.ToArray())
        {
            if (except?.Contains(use.Node) != true)
            {
                use.Node.SetInput(use.Index, replacement);
            }
        }

        if (IsGraphOutput)
        {
            Graph.ReplaceOutput(this, replacement);
        }
    }

    /// <inheritdoc/>
    public override string ToString() => Type is OnnxType.Tensor tensor
        ? $"{Name}: {tensor.ElementType.OnnxName()}{tensor.Shape?.ToString() ?? "[...]"}"
        : Name;

    internal void AddUse(Use use) => _uses.Add(use);

    internal void RemoveUse(Use use) => _uses.Remove(use);
}
