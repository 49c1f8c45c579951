namespace OrtQLoRA.Graph.IR;

/// <summary>Checks the main graph or one function body, with all subgraphs.</summary>
/// <param name="functions">Functions of the model.</param>
/// <param name="opsetImports">Operator sets that the graph may use.</param>
/// <param name="owner">The model or function, for messages.</param>
/// <param name="isFunction">Whether the graph is a function's body.</param>
/// <param name="faults">Receives what is wrong.</param>
internal sealed class ScopeVerifier(
    FunctionTable functions, IDictionary<string, long> opsetImports, string owner, bool isFunction, List<string> faults)
{
    private readonly HashSet<Value> _defined = [];
    private readonly Dictionary<Value, int> _uses = [];
    private readonly HashSet<string> _missingDomains = new(StringComparer.Ordinal);

    /// <summary>Checks the graph.</summary>
    public void VerifyGraph(OnnxGraph graph)
    {
        foreach ((string domain, long version) in opsetImports)
        {
            if (version < 1)
            {
                faults.Add($"{owner} imports version {version} of the operators of domain '{domain}'; versions start at 1.");
            }
        }

        Verify(graph);
        foreach (Value value in _defined.Where(v => v.Uses.Count != _uses.GetValueOrDefault(v)))
        {
            faults.Add($"Value '{value.Name}' lists {value.Uses.Count} readers, but {_uses.GetValueOrDefault(value)} nodes read it. An edit went around the graph's methods.");
        }
    }

    private void Verify(OnnxGraph graph)
    {
        foreach (Value value in graph.Inputs.Concat(graph.Initializers))
        {
            if (_defined.Add(value))
            {
                VerifyName(value, graph);
            }
        }

        foreach (Value value in graph.Inputs.Where(i => i.Initializer is not null))
        {
            VerifyDefault(value);
        }

        foreach (Node node in graph.Nodes)
        {
            Verify(node, graph);
        }

        foreach (Value output in graph.Outputs)
        {
            if (output.Graph != graph || !_defined.Contains(output))
            {
                faults.Add($"Output '{output.Name}' of graph '{graph.Name}' is made by no node of the graph and is neither an input nor an initializer.");
            }
        }
    }

    private void Verify(Node node, OnnxGraph graph)
    {
        if (node.Graph != graph)
        {
            faults.Add($"{node.Describe()} stands in graph '{graph.Name}' but belongs to another.");
        }

        for (int i = 0; i < node.Inputs.Count; i++)
        {
            if (node.Inputs[i] is { } input)
            {
                _uses[input] = _uses.GetValueOrDefault(input) + 1;
                VerifyInput(node, i, input, graph);
            }
        }

        VerifyOperator(node);
        foreach ((string name, NodeAttribute attribute) in node.Attributes)
        {
            if (attribute.ReferenceName is { } reference && !isFunction)
            {
                faults.Add($"{node.Describe()}: attribute '{name}' refers to attribute '{reference}' of a caller, but stands outside functions.");
            }

            foreach (OnnxGraph subgraph in attribute.Subgraphs())
            {
                if (subgraph.Parent != graph)
                {
                    faults.Add($"{node.Describe()}: the graph around subgraph '{subgraph.Name}' ('{name}') is not the node's. Create subgraphs with their parent.");
                }

                Verify(subgraph);
            }
        }

        for (int i = 0; i < node.Outputs.Count; i++)
        {
            Value output = node.Outputs[i];
            if (output.Producer != node || output.ProducerIndex != i || !_defined.Add(output))
            {
                faults.Add($"{node.Describe()}: output '{output.Name}' is made elsewhere too. ONNX wants each value assigned once.");
            }

            VerifyName(output, graph);
        }

        faults.AddRange(ElementTypeRules.FindFaults(node));
    }

    private void VerifyInput(Node node, int index, Value input, OnnxGraph graph)
    {
        if (_defined.Contains(input) && IsVisible(input, graph))
        {
            return;
        }

        faults.Add(IsVisible(input, graph) && input.Producer?.Graph == input.Graph && input.Graph.TryGetValue(input.Name, out Value? known) && known == input
            ? $"{node.Describe()} reads '{input.Name}' (input {index}), which {input.Producer!.Describe()} makes only later. Move the node behind it."
            : $"{node.Describe()} reads '{input.Name}' (input {index}), which is not in its reach: it was removed or belongs to another graph.");
    }

    private void VerifyOperator(Node node)
    {
        if (node.OpType.Length == 0)
        {
            faults.Add($"{node.Describe()} names no operator.");
        }

        if (!opsetImports.ContainsKey(node.Domain) && _missingDomains.Add(node.Domain))
        {
            faults.Add($"{node.Describe()} is of domain '{node.Domain}', of which {owner} imports no version. Add it to the operator set imports.");
        }

        if (functions.Callee(node) is { } function)
        {
            VerifyCall(node, function);
        }
    }

    private void VerifyCall(Node node, OnnxFunction function)
    {
        if (node.Inputs.Count > function.Body.Inputs.Count || node.Outputs.Count > function.Body.Outputs.Count)
        {
            faults.Add($"{node.Describe()} passes {node.Inputs.Count} inputs and takes {node.Outputs.Count} outputs; function '{function.Domain}::{function.Name}' has {function.Body.Inputs.Count} and {function.Body.Outputs.Count}.");
        }

        foreach (string attribute in function.RequiredAttributes.Where(a => !node.Attributes.ContainsKey(a)))
        {
            faults.Add($"{node.Describe()} lacks attribute '{attribute}', which function '{function.Domain}::{function.Name}' requires.");
        }
    }

    private void VerifyDefault(Value input)
    {
        if (input.Type is OnnxType.Tensor declared && input.Initializer is { } content && !Agrees(declared, content))
        {
            faults.Add($"Initializer '{input.Name}' is {content.ElementType.OnnxName()}[{string.Join(", ", content.Dims)}], but the graph input of that name is {declared.ElementType.OnnxName()}{declared.Shape?.ToString() ?? "[...]"}.");
        }
    }

    private void VerifyName(Value value, OnnxGraph graph)
    {
        if (value.Name.Length == 0)
        {
            // An output that is left out; anything else cannot be without a name.
            return;
        }

        if (value.Graph != graph || !graph.TryGetValue(value.Name, out Value? known) || known != value)
        {
            faults.Add($"Value '{value.Name}' of graph '{graph.Name}' is not the one that the graph knows by that name.");
        }

        for (OnnxGraph? outer = graph.Parent; outer is not null; outer = outer.Parent)
        {
            if (outer.TryGetValue(value.Name, out Value? hidden) && _defined.Contains(hidden))
            {
                faults.Add($"Value '{value.Name}' of subgraph '{graph.Name}' hides a value of that name in graph '{outer.Name}' around it. Rename one; runtimes differ in which they read.");
            }
        }

        VerifyShape(value);
    }

    private void VerifyShape(Value value)
    {
        if (value.Shape is { } shape
            && !TensorSize.TryCompute(DataType.Complex128, shape.Where(d => d.IsKnown).Select(d => d.Value!.Value), out _, out _))
        {
            faults.Add($"Value '{value.Name}' of shape {shape} would take more than 2^63 bytes.");
        }
    }

    private static bool Agrees(OnnxType.Tensor declared, ITensor content) =>
        declared.ElementType == content.ElementType
        && (declared.Shape is null
            || (declared.Shape.Rank == content.Dims.Length && declared.Shape.Zip(content.Dims).All(p => p.First.Value is null || p.First.Value == p.Second)));

    private static bool IsVisible(Value value, OnnxGraph from)
    {
        for (OnnxGraph? scope = from; scope is not null; scope = scope.Parent)
        {
            if (value.Graph == scope)
            {
                return true;
            }
        }

        return false;
    }
}
