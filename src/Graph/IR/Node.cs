namespace OrtQLoRA.Graph.IR;

/// <summary>One operator call. Inputs that are left out are null.</summary>
public sealed class Node
{
    private readonly List<Value?> _inputs = [];
    private readonly List<Value> _outputs = [];
    private readonly OrderedDictionary<string, NodeAttribute> _attributes = [];

    internal Node(OnnxGraph graph, string opType, string domain, string name)
    {
        Graph = graph;
        OpType = opType;
        Domain = NormaliseDomain(domain);
        Name = name;
    }

    /// <summary>The graph that owns the node; null once removed.</summary>
    public OnnxGraph? Graph { get; internal set; }

    /// <summary>Operator, for example <c>MatMul</c>.</summary>
    public string OpType { get; }

    /// <summary>Domain; empty for ONNX's own operators (<c>ai.onnx</c> is read as empty).</summary>
    public string Domain { get; }

    /// <summary>Which of several functions of the same name is called; usually empty.</summary>
    public string Overload { get; set; } = "";

    /// <summary>Name of the node; may be empty and need not be unique in files of old exporters.</summary>
    public string Name { get; set; }

    /// <summary>Values read; null where an optional input is left out.</summary>
    public IReadOnlyList<Value?> Inputs => _inputs;

    /// <summary>Values made. An output that is left out is a value with an empty name.</summary>
    public IReadOnlyList<Value> Outputs => _outputs;

    /// <summary>Attributes by name, in file order.</summary>
    public IReadOnlyDictionary<string, NodeAttribute> Attributes => _attributes;

    /// <summary>A note to readers, if the model has one.</summary>
    public string? DocString { get; set; }

    /// <summary>Key/value pairs of the file, for example PyTorch's <c>pkg.torch.onnx.name_scopes</c>.</summary>
    public IDictionary<string, string> Metadata { get; } = new OrderedDictionary<string, string>();

    /// <summary>Fields of the file that the IR does not model, in serialized form, for the round trip.</summary>
    public ReadOnlyMemory<byte> Unmodelled { get; set; }

    /// <summary>The node before this one in its graph.</summary>
    public Node? Previous { get; internal set; }

    /// <summary>The node after this one in its graph.</summary>
    public Node? Next { get; internal set; }

    /// <summary>Every subgraph held by an attribute.</summary>
    public IEnumerable<OnnxGraph> Subgraphs => _attributes.Values.SelectMany(a => a.Subgraphs());

    /// <summary>Whether this calls the given operator of ONNX's own domain.</summary>
    public bool Is(string opType) => OpType == opType && Domain.Length == 0;

    /// <summary>Whether this calls the given operator of a domain.</summary>
    public bool Is(string opType, string domain) => OpType == opType && Domain == NormaliseDomain(domain);

    /// <summary>The input at a position, or null if it is left out or beyond the last.</summary>
    public Value? InputOrNull(int index) => index < _inputs.Count ? _inputs[index] : null;

    /// <summary>The output at a position, or null if it is left out or beyond the last.</summary>
    public Value? OutputOrNull(int index) => index < _outputs.Count && _outputs[index].Name.Length > 0 ? _outputs[index] : null;

    /// <summary>Reads another value at a position.</summary>
    public void SetInput(int index, Value? value)
    {
        _inputs[index]?.RemoveUse(new Use(this, index));
        _inputs[index] = value;
        value?.AddUse(new Use(this, index));
    }

    /// <summary>Reads one more value, after the present ones.</summary>
    public void AddInput(Value? value)
    {
        _inputs.Add(value);
        value?.AddUse(new Use(this, _inputs.Count - 1));
    }

    /// <summary>Reads none of the inputs from <paramref name="count"/> on.</summary>
    public void TruncateInputs(int count)
    {
        for (int i = _inputs.Count - 1; i >= count; i--)
        {
            SetInput(i, null);
            _inputs.RemoveAt(i);
        }
    }

    /// <summary>Makes one more value.</summary>
    /// <param name="name">Name of the value; empty for an output that is left out.</param>
    /// <param name="type">Type, as far as it is known.</param>
    public Value AddOutput(string name, OnnxType? type = null)
    {
        Value value = OwningGraph.CreateOutput(this, name, type, _outputs.Count);
        _outputs.Add(value);
        return value;
    }

    /// <summary>Adds or replaces an attribute.</summary>
    public void SetAttribute(string name, NodeAttribute value) => _attributes[name] = value;

    /// <summary>Removes an attribute if it is there.</summary>
    public bool RemoveAttribute(string name) => _attributes.Remove(name);

    /// <summary>An integer attribute or its default.</summary>
    public long GetInt(string name, long defaultValue) => _attributes.TryGetValue(name, out NodeAttribute? a) ? a.AsInt() : defaultValue;

    /// <summary>A float attribute or its default.</summary>
    public float GetFloat(string name, float defaultValue) => _attributes.TryGetValue(name, out NodeAttribute? a) ? a.AsFloat() : defaultValue;

    /// <summary>A string attribute or its default.</summary>
    public string GetString(string name, string defaultValue) => _attributes.TryGetValue(name, out NodeAttribute? a) ? a.AsString() : defaultValue;

    /// <summary>An attribute of several integers, or null if it is left out.</summary>
    public long[]? GetInts(string name) => _attributes.TryGetValue(name, out NodeAttribute? a) ? [.. a.AsInts()] : null;

    /// <summary>Operator, domain and name for messages: <c>'Gelu' (com.microsoft) at node '/mlp/act'</c>.</summary>
    public string Describe() => $"'{OpType}'{(Domain.Length == 0 ? "" : $" ({Domain})")} at node '{(Name.Length > 0 ? Name : "making " + _outputs.FirstOrDefault()?.Name)}'";

    /// <inheritdoc/>
    public override string ToString() =>
        $"{string.Join(", ", _outputs.Select(o => o.Name))} = {(Domain.Length == 0 ? "" : Domain + ".")}{OpType}({string.Join(", ", _inputs.Select(i => i?.Name ?? ""))})";

    internal static string NormaliseDomain(string domain) => domain == "ai.onnx" ? "" : domain;

    internal OnnxGraph OwningGraph => Graph ?? throw new GraphException($"{Describe()} was removed from its graph.");
}
