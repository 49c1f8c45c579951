using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation;

/// <summary>
/// Computes a model in plain C#, one node after the other with straightforward kernels: the oracle of gradient
/// checks and the calculator of constant folding. Made for tiny tensors; every value is kept until the run ends.
/// </summary>
/// <remarks>Local functions are evaluated by their bodies. Random operators draw from a generator seeded by the node's name.</remarks>
public sealed class ReferenceEvaluator
{
    private readonly OnnxGraph _graph;
    private readonly EvaluationMode _mode;
    private readonly KernelRegistry _kernels;
    private readonly IDictionary<string, long> _opsets;
    private readonly Dictionary<(string Domain, string Name, string Overload), OnnxFunction> _functions;
    private readonly Dictionary<ITensor, ReferenceTensor> _constants = new(ReferenceEqualityComparer.Instance);

    /// <summary>Creates an evaluator of a model's main graph. The model may be edited between runs.</summary>
    /// <param name="model">The model.</param>
    /// <param name="mode">How results are rounded.</param>
    /// <param name="kernels">Kernels to use; null for the evaluator's own.</param>
    public ReferenceEvaluator(OnnxModel model, EvaluationMode mode = EvaluationMode.Exact, KernelRegistry? kernels = null)
    {
        _graph = model.Graph;
        _mode = mode;
        _kernels = kernels ?? KernelRegistry.Default;
        _opsets = model.OpsetImports;
        _functions = model.Functions.ToDictionary(f => (f.Domain, f.Name, f.Overload));
    }

    /// <summary>Computes values of the main graph, and nothing that they do not need.</summary>
    /// <param name="feeds">
    /// Tensors by value name. Graph inputs without a default must be among them if they are needed; initializers
    /// and inner values may be, and are then taken from here.
    /// </param>
    /// <param name="wanted">Names of the values to compute; null for the graph's outputs.</param>
    /// <returns>The wanted values by name.</returns>
    /// <exception cref="GraphException">A name is unknown, a feed is missing, or a node's inputs break its rules.</exception>
    /// <exception cref="UnsupportedOpException">A needed node's operator has no kernel.</exception>
    public IReadOnlyDictionary<string, ReferenceTensor> Run(
        IReadOnlyDictionary<string, ReferenceTensor> feeds, IEnumerable<string>? wanted = null)
    {
        IReadOnlyList<Value> targets = wanted is null ? _graph.Outputs : [.. wanted.Select(_graph.GetValue)];
        Frame frame = new(_opsets, null);
        foreach ((string name, ReferenceTensor tensor) in feeds)
        {
            frame.Values[_graph.GetValue(name)] = tensor;
        }

        RunGraph(_graph, targets, frame);
        Dictionary<string, ReferenceTensor> results = [];
        foreach (Value target in targets)
        {
            results[target.Name] = Lookup(target, frame) ?? throw new GraphException($"Value '{target.Name}' was not made by {target.Producer?.Describe()}.");
        }

        return results;
    }

    /// <summary>Computes one node of the model.</summary>
    /// <param name="node">The node; its subgraphs must not read outer values.</param>
    /// <param name="inputs">Its inputs; null where one is left out.</param>
    /// <returns>One tensor per output; null where an output is not made.</returns>
    /// <exception cref="GraphException">The inputs or attributes break the operator's rules.</exception>
    /// <exception cref="UnsupportedOpException">The operator has no kernel.</exception>
    public IReadOnlyList<ReferenceTensor?> RunNode(Node node, IReadOnlyList<ReferenceTensor?> inputs) =>
        RunNode(node, inputs, new Frame(_opsets, null));

    /// <summary>Whether the operator of a node has a kernel; a function of the model counts only if its operator has one.</summary>
    public bool HasKernel(Node node) => _kernels.TryGet(node, out _);

    private void RunGraph(OnnxGraph graph, IReadOnlyList<Value> targets, Frame frame)
    {
        HashSet<Node> needed = NeededNodes(targets, frame);
        foreach (Node node in graph.Nodes)
        {
            if (!needed.Contains(node))
            {
                continue;
            }

            IReadOnlyList<ReferenceTensor?> outputs = RunNode(node, [.. node.Inputs.Select(i => Lookup(i, frame))], frame);
            for (int i = 0; i < node.Outputs.Count && i < outputs.Count; i++)
            {
                // A fed value stays as fed even if another output of its node is needed.
                if (outputs[i] is { } output)
                {
                    frame.Values.TryAdd(node.Outputs[i], output);
                }
            }
        }
    }

    private IReadOnlyList<ReferenceTensor?> RunNode(Node node, IReadOnlyList<ReferenceTensor?> inputs, Frame frame)
    {
        // ONNX lets a model carry the bodies of standard operators too, hence kernels first.
        if (!_kernels.TryGet(node, out ReferenceKernel? kernel))
        {
            return _functions.TryGetValue((node.Domain, node.OpType, node.Overload), out OnnxFunction? function)
                ? RunFunction(node, function, inputs, frame)
                : throw new UnsupportedOpException(
                    $"The reference evaluator has no kernel for {node.Describe()} (opset {frame.Opset(node.Domain)}). " +
                    $"Register one in {nameof(KernelRegistry)} or decompose the operator first.");
        }

        KernelContext context = new(node, frame.Opset(node.Domain), inputs, _mode, frame.CallerAttributes, (g, fed) => RunSubgraph(g, fed, frame));
        IReadOnlyList<ReferenceTensor?> outputs = Compute(kernel, context);
        return _mode == EvaluationMode.Typed ? [.. outputs.Select(o => o?.Rounded())] : outputs;
    }

    // Kernels check what well-formed models get wrong. That a malformed one gives a rank or an attribute that the
    // operator does not allow shows as an error of the arithmetic on it.
    private static IReadOnlyList<ReferenceTensor?> Compute(ReferenceKernel kernel, KernelContext context)
    {
        try
        {
            return kernel(context);
        }
        catch (GraphException e) when (!e.Message.Contains(context.Node.Describe(), StringComparison.Ordinal))
        {
            throw context.Error(e.Message.TrimEnd('.'));
        }
        catch (Exception e) when (e is IndexOutOfRangeException or ArgumentException or ArithmeticException or InvalidOperationException or InvalidCastException)
        {
            throw context.Error($"the inputs ({string.Join(", ", context.Inputs.Select(i => i?.ToString() ?? "left out"))}) or attributes break the operator's rules: {e.Message}");
        }
    }

    private ReferenceTensor?[] RunSubgraph(OnnxGraph subgraph, IReadOnlyList<ReferenceTensor?> inputs, Frame frame)
    {
        // Values made by an earlier run of the same subgraph must not count as fed.
        foreach (Value value in subgraph.Nodes.SelectMany(n => n.Outputs))
        {
            frame.Values.Remove(value);
        }

        for (int i = 0; i < inputs.Count && i < subgraph.Inputs.Count; i++)
        {
            frame.Values[subgraph.Inputs[i]] = inputs[i];
        }

        RunGraph(subgraph, subgraph.Outputs, frame);
        return [.. subgraph.Outputs.Select(o => Lookup(o, frame))];
    }

    private ReferenceTensor?[] RunFunction(Node node, OnnxFunction function, IReadOnlyList<ReferenceTensor?> inputs, Frame caller)
    {
        Dictionary<string, NodeAttribute> attributes = new(function.OptionalAttributes);
        foreach ((string name, NodeAttribute attribute) in node.Attributes)
        {
            if (attribute.ReferenceName is null)
            {
                attributes[name] = attribute;
            }
            else if (caller.CallerAttributes?.GetValueOrDefault(attribute.ReferenceName) is { } outer)
            {
                attributes[name] = outer;
            }
        }

        Frame frame = new(function.OpsetImports, attributes);
        for (int i = 0; i < function.Body.Inputs.Count && i < inputs.Count; i++)
        {
            frame.Values[function.Body.Inputs[i]] = inputs[i];
        }

        RunGraph(function.Body, function.Body.Outputs, frame);
        return [.. function.Body.Outputs.Select(o => Lookup(o, frame))];
    }

    private ReferenceTensor? Lookup(Value? value, Frame frame)
    {
        if (value is null)
        {
            return null;
        }

        if (frame.Values.TryGetValue(value, out ReferenceTensor? tensor))
        {
            return tensor;
        }

        if (value.Initializer is null)
        {
            return value.IsGraphInput && value.Graph == _graph
                ? throw new GraphException($"Graph input '{value}' is needed and was not fed.")
                : null;
        }

        if (!_constants.TryGetValue(value.Initializer, out ReferenceTensor? constant))
        {
            constant = ReferenceTensor.From(value.Initializer);
            _constants[value.Initializer] = constant;
        }

        return constant;
    }

    private static HashSet<Node> NeededNodes(IEnumerable<Value> targets, Frame frame)
    {
        HashSet<Node> needed = [];
        Stack<Value> pending = new(targets);
        while (pending.TryPop(out Value? value))
        {
            if (!frame.Values.ContainsKey(value) && value.Producer is { } producer && needed.Add(producer))
            {
                IEnumerable<Node> inner = producer.Subgraphs.SelectMany(g => g.AllNodes());
                foreach (Value? read in inner.Prepend(producer).SelectMany(n => n.Inputs).Concat(producer.Subgraphs.SelectMany(g => g.Outputs)))
                {
                    if (read is not null)
                    {
                        pending.Push(read);
                    }
                }
            }
        }

        return needed;
    }

    /// <summary>The values of one run of the main graph or of a function body, subgraphs included.</summary>
    private sealed class Frame(IDictionary<string, long> opsets, IReadOnlyDictionary<string, NodeAttribute>? callerAttributes)
    {
        public Dictionary<Value, ReferenceTensor?> Values { get; } = [];

        public IReadOnlyDictionary<string, NodeAttribute>? CallerAttributes { get; } = callerAttributes;

        public long Opset(string domain) => opsets.TryGetValue(domain, out long version) ? version : 1;
    }
}
