using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation;

/// <summary>What a kernel sees of the node that it computes: inputs, attributes (defaults applied) and opset.</summary>
public sealed class KernelContext
{
    private readonly IReadOnlyDictionary<string, NodeAttribute>? _callerAttributes;
    private readonly Func<OnnxGraph, IReadOnlyList<ReferenceTensor?>, IReadOnlyList<ReferenceTensor?>> _runSubgraph;

    internal KernelContext(
        Node node,
        long opset,
        IReadOnlyList<ReferenceTensor?> inputs,
        EvaluationMode mode,
        IReadOnlyDictionary<string, NodeAttribute>? callerAttributes,
        Func<OnnxGraph, IReadOnlyList<ReferenceTensor?>, IReadOnlyList<ReferenceTensor?>> runSubgraph)
    {
        Node = node;
        Opset = opset;
        Inputs = inputs;
        Mode = mode;
        _callerAttributes = callerAttributes;
        _runSubgraph = runSubgraph;
    }

    /// <summary>The node.</summary>
    public Node Node { get; }

    /// <summary>Version of the operator set of the node's domain.</summary>
    public long Opset { get; }

    /// <summary>Evaluated inputs; null where an optional input is left out.</summary>
    public IReadOnlyList<ReferenceTensor?> Inputs { get; }

    /// <summary>How results will be rounded.</summary>
    public EvaluationMode Mode { get; }

    /// <summary>An input that must be there.</summary>
    /// <exception cref="GraphException">It is left out.</exception>
    public ReferenceTensor Input(int index) => InputOrNull(index) ?? throw Error($"input {index} is missing");

    /// <summary>An optional input.</summary>
    public ReferenceTensor? InputOrNull(int index) => index < Inputs.Count ? Inputs[index] : null;

    /// <summary>Inputs of a variadic operator.</summary>
    /// <exception cref="GraphException">There are none.</exception>
    public IReadOnlyList<ReferenceTensor> AllInputs() => Inputs.Count > 0
        ? [.. Enumerable.Range(0, Inputs.Count).Select(Input)]
        : throw Error("at least one input is needed");

    /// <summary>An attribute, or null; inside a function a reference is resolved to the caller's attribute.</summary>
    public NodeAttribute? Attribute(string name) => !Node.Attributes.TryGetValue(name, out NodeAttribute? attribute) ? null
        : attribute.ReferenceName is null ? attribute
        : _callerAttributes?.GetValueOrDefault(attribute.ReferenceName);

    /// <summary>An integer attribute or its default.</summary>
    public long GetInt(string name, long defaultValue) => Attribute(name)?.AsInt() ?? defaultValue;

    /// <summary>A float attribute or its default.</summary>
    public double GetFloat(string name, double defaultValue) => Attribute(name)?.AsFloat() ?? defaultValue;

    /// <summary>A string attribute or its default.</summary>
    public string GetString(string name, string defaultValue) => Attribute(name)?.AsString() ?? defaultValue;

    /// <summary>An attribute of several integers, or null.</summary>
    public long[]? GetInts(string name) => Attribute(name) is { } attribute ? [.. attribute.AsInts()] : null;

    /// <summary>
    /// Integers that older opsets give as an attribute and later ones as an input; null if neither is there.
    /// </summary>
    public long[]? GetInts(string name, int inputIndex) => InputOrNull(inputIndex) is { } input ? [.. input.Integers] : GetInts(name);

    /// <summary>An axis counted from the front; negative ones count from the end.</summary>
    /// <exception cref="GraphException">The axis lies outside the tensor.</exception>
    public int Axis(long axis, int rank) => axis >= -rank && axis < rank
        ? (int)(axis < 0 ? axis + rank : axis)
        : throw Error($"axis {axis} lies outside a tensor of rank {rank} ([{-rank}, {rank - 1}] is allowed)");

    /// <summary>Axes counted from the front, ascending, each once.</summary>
    public int[] Axes(IEnumerable<long> axes, int rank) => [.. axes.Select(a => Axis(a, rank)).Distinct().Order()];

    /// <summary>The dimensions that the inputs' shapes broadcast to.</summary>
    /// <exception cref="GraphException">They do not fit.</exception>
    public long[] Broadcast(params IReadOnlyList<ReferenceTensor> tensors) => Indexing.Broadcast(tensors.Select(t => (IReadOnlyList<long>)t.Dims))
        ?? throw Error($"the shapes {string.Join(" and ", tensors.Select(t => $"[{string.Join(", ", t.Dims)}]"))} cannot be broadcast together");

    /// <summary>Evaluates a subgraph of the node; it sees the values around the node.</summary>
    /// <param name="subgraph">The subgraph.</param>
    /// <param name="inputs">Values of its inputs, in their order.</param>
    public IReadOnlyList<ReferenceTensor?> Run(OnnxGraph subgraph, params IReadOnlyList<ReferenceTensor?> inputs) => _runSubgraph(subgraph, inputs);

    /// <summary>An error that names the node.</summary>
    public GraphException Error(string message) => new($"{Node.Describe()}: {message}.");

    /// <summary>An error for a form of the operator that the evaluator does not compute.</summary>
    public UnsupportedOpException Unsupported(string message) =>
        new($"The reference evaluator does not compute this form of {Node.Describe()} (opset {Opset}): {message}.");
}
