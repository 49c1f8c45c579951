using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes.Decomposition;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>
/// Reverse-mode differentiation of a graph: appends the nodes that compute the gradient of a loss. The walk knows no
/// operator. It visits the nodes between the loss and the values asked for, last first, and calls each one's rule;
/// it alone adds up the gradients of a value with several uses, sums gradients down to the shape of a value that was
/// broadcast, and checks what the rules give.
/// </summary>
/// <remarks>
/// The model's types and shapes must be inferred. Emitted operators are standard ONNX, valid from opset 18 to 24.
/// Where shape inference proves two dimensions equal (numbers, or the same symbol), the emitted graph relies on it:
/// callers must not feed different sizes for one symbol.
/// </remarks>
public sealed class GradientBuilder
{
    private readonly OnnxModel _model;
    private readonly GradientRuleRegistry _rules;
    private readonly GradientForms _forms;
    private readonly GradientPath _path;
    private readonly Dictionary<Value, List<Value>> _contributions = [];
    private readonly Dictionary<Value, Value> _gradients = [];
    private readonly Dictionary<Value, Value> _named = [];
    private readonly HashSet<Node> _forwardNodes;

    private GradientBuilder(OnnxModel model, Value loss, IReadOnlyCollection<Value> withRespectTo, GradientRuleRegistry rules)
    {
        _model = model;
        _rules = rules;
        _forms = new GradientForms(new GraphBuilder(model.Graph, model.Opset));
        _path = GradientPath.Find(model.Graph, loss, withRespectTo);
        _forwardNodes = [.. model.Graph.Nodes];
    }

    private GraphBuilder Builder => _forms.Builder;

    /// <summary>Appends the backward graph of <paramref name="loss"/>.</summary>
    /// <param name="model">The model; its main graph is extended in place.</param>
    /// <param name="loss">Floating-point tensor of one element.</param>
    /// <param name="lossWeight">Scalar that multiplies every gradient (the gradient of the loss itself); null for 1.</param>
    /// <param name="withRespectTo">
    /// Floating-point values of the graph to differentiate by: inputs, initializers or outputs of nodes.
    /// </param>
    /// <param name="options">Rules and behaviour; null for the defaults.</param>
    /// <returns>
    /// The gradient of each value: a value of the same type and shape, named <c>NAME_grad</c> (made unique if that is
    /// taken), distinct for each.
    /// </returns>
    /// <exception cref="UnsupportedOpException">An operator on the path has no rule or is a control-flow operator.</exception>
    /// <exception cref="GraphException">The loss is no scalar, a type is not known, or a rule gives a wrong number or type of gradients.</exception>
    public static IReadOnlyDictionary<Value, Value> Build(
        OnnxModel model, Value loss, Value? lossWeight, IReadOnlyCollection<Value> withRespectTo, GradientOptions? options = null)
    {
        options ??= new GradientOptions();
        CheckArguments(model, loss, withRespectTo);
        GradientBuilder builder = new(model, loss, withRespectTo, options.Rules ?? GradientRuleRegistry.CreateDefault());
        builder.CheckQuantizers(withRespectTo, loss);
        builder.CheckReachable(withRespectTo, loss, options.Unreachable);

        HashSet<Value> forwardInitializers = [.. model.Graph.Initializers];
        builder.Walk(loss, lossWeight);
        Dictionary<Value, Value> gradients = builder.Collect(withRespectTo);
        builder.RemoveUnread(forwardInitializers, [.. gradients.Values]);
        return gradients;
    }

    private static void CheckArguments(OnnxModel model, Value loss, IReadOnlyCollection<Value> withRespectTo)
    {
        if (!loss.ElementType.IsFloatingPoint() || loss.Shape is { ElementCount: not (null or 1) })
        {
            throw new GraphException($"The loss '{loss}' must be a floating-point tensor of one element. Reduce it to its mean or sum first.");
        }

        foreach (Value value in withRespectTo.Append(loss))
        {
            if (value.Graph != model.Graph)
            {
                throw new GraphException($"Value '{value.Name}' does not belong to the model's main graph '{model.Graph.Name}'; gradients are built there.");
            }

            if (!value.ElementType.IsFloatingPoint())
            {
                throw new GraphException($"Value '{value}' has no floating-point type, so that no gradient can be taken by it. Leave it out.");
            }
        }
    }

    // Rounded activations carry no gradient; passing them over would leave out part of it without a word.
    private void CheckQuantizers(IReadOnlyCollection<Value> withRespectTo, Value loss)
    {
        if (GradientPath.FindQuantizer(_model.Graph, loss, withRespectTo) is var (quantizer, source))
        {
            throw new UnsupportedOpException(
                $"No gradient passes {quantizer.Describe()}, which lies between the loss and trainable '{source.Name}'. {UntrainableOps.Remedy(quantizer)}.");
        }
    }

    private void CheckReachable(IReadOnlyCollection<Value> withRespectTo, Value loss, UnreachableGradient unreachable)
    {
        if (unreachable == UnreachableGradient.Error && withRespectTo.Where(v => !_path.Contains(v)).ToArray() is { Length: > 0 } lost)
        {
            throw new GraphException(
                $"The loss '{loss.Name}' does not depend on {string.Join(", ", lost.Take(10).Select(v => $"'{v.Name}'"))}{(lost.Length > 10 ? $" and {lost.Length - 10} more" : "")}: training would not change them. Take them off the trainable values, or attach the loss to an output that uses them.");
        }
    }

    private void Walk(Value loss, Value? lossWeight)
    {
        Builder.Scope = "grad/";
        if (_path.Contains(loss))
        {
            Value seed = lossWeight is null ? Builder.ScalarLike(loss, 1) : Builder.Cast(lossWeight, loss.ElementType);
            _contributions[loss] = [_forms.Shapes.ReshapeLike(seed, loss)];
        }

        foreach (Node node in _path.Nodes)
        {
            Value?[] outputGradients = [.. node.Outputs.Select(Finish)];
            if (outputGradients.All(g => g is null))
            {
                // Rules behind this node found no gradient for its outputs (for example an unused option).
                continue;
            }

            Differentiate(node, outputGradients);
        }
    }

    private void Differentiate(Node node, Value?[] outputGradients)
    {
        GradientRule rule = FindRule(node);
        Builder.Scope = $"grad/{(node.Name.Length > 0 ? node.Name : node.Outputs[0].Name).TrimStart('/')}/";
        GradientContext context = new(
            node, _forms, outputGradients, i => node.InputOrNull(i) is { } input && _path.Contains(input));
        IReadOnlyList<Value?> gradients = rule(context);
        if (gradients.Count != node.Inputs.Count)
        {
            throw new GraphException(
                $"The gradient rule of {node.Describe()} gave {gradients.Count} gradients for {node.Inputs.Count} inputs; a rule gives exactly one, or null, for each.");
        }

        for (int i = 0; i < gradients.Count; i++)
        {
            if (gradients[i] is { } gradient && node.Inputs[i] is { } input && _path.Contains(input))
            {
                Contribute(node, input, gradient);
            }
        }
    }

    private GradientRule FindRule(Node node)
    {
        if (_rules.TryGet(node, out GradientRule? rule))
        {
            return rule;
        }

        Value? behind = _path.FindSourceBehind(node);
        long opset = _model.OpsetImports.TryGetValue(node.Domain, out long version) ? version : _model.Opset;
        string remedy = _model.Functions.Any(f => f.Domain == node.Domain && f.Name == node.OpType)
            ? "It is a function of the model: inline functions first"
            : DecompositionTable.Refusal(node) is { } refusal
            ? $"It is taken apart for training as a rule, but not here: {refusal}"
            : UntrainableOps.Remedy(node) is { } known
            ? known
            : $"Add a rule under Gradients/Rules or decompose {node.OpType} first. {_rules.DescribeKnown(node.Domain)}";
        throw new UnsupportedOpException(
            $"No gradient rule for '{node.OpType}' ({(node.Domain.Length == 0 ? "" : $"domain '{node.Domain}', ")}opset {opset}) at node '{(node.Name.Length > 0 ? node.Name : "making " + node.Outputs[0].Name)}', which lies between the loss and trainable '{behind?.Name}'. {remedy.TrimEnd('.')}.");
    }

    private void Contribute(Node node, Value value, Value gradient)
    {
        gradient = _forms.SumTo(gradient, value);
        if (gradient.ElementType != value.ElementType)
        {
            throw new GraphException(
                $"The gradient rule of {node.Describe()} gave a gradient of type {gradient.ElementType.OnnxName()} for the {value.ElementType.OnnxName()} value '{value.Name}'; it must have the value's type.");
        }

        if (!_contributions.TryGetValue(value, out List<Value>? gradients))
        {
            _contributions[value] = gradients = [];
        }

        gradients.Add(gradient);
    }

    // The gradient of a value all of whose uses have been visited.
    private Value? Finish(Value value)
    {
        if (_gradients.TryGetValue(value, out Value? known))
        {
            return known;
        }

        if (!_contributions.Remove(value, out List<Value>? gradients))
        {
            return null;
        }

        Value gradient = GradientSum.Of(_forms, gradients);
        if (IsEmitted(gradient) && _named.TryAdd(gradient, value))
        {
            gradient.Name = Builder.Graph.Names.Reserve(value.Name + "_grad");
        }

        return _gradients[value] = gradient;
    }

    private Dictionary<Value, Value> Collect(IReadOnlyCollection<Value> withRespectTo)
    {
        Dictionary<Value, Value> results = [];
        HashSet<Value> taken = [];
        Builder.Scope = "grad/";
        foreach (Value value in withRespectTo)
        {
            Value gradient = Finish(value) ?? _forms.ZerosLike(value);
            if (!IsEmitted(gradient) || !taken.Add(gradient))
            {
                // Each result is a value of its own, so that callers can name, output and rewire it.
                gradient = Builder.Op("Identity", [gradient]);
                taken.Add(gradient);
            }

            if (_named.GetValueOrDefault(gradient) != value)
            {
                gradient.Name = Builder.Graph.Names.Reserve(value.Name + "_grad");
            }

            results[value] = gradient;
        }

        return results;
    }

    private bool IsEmitted(Value value) => value.Producer is { } producer && !_forwardNodes.Contains(producer);

    // Drops what rules and GradientSum bypassed; the emitted nodes stand after all forward nodes.
    private void RemoveUnread(HashSet<Value> forwardInitializers, HashSet<Value> results)
    {
        OnnxGraph graph = _model.Graph;
        for (Node? node = graph.Last; node is not null && !_forwardNodes.Contains(node);)
        {
            Node? previous = node.Previous;
            if (node.Outputs.All(o => !o.IsUsed && !results.Contains(o)))
            {
                graph.Remove(node);
            }

            node = previous;
        }

        foreach (Value constant in graph.Initializers.Where(i => !forwardInitializers.Contains(i) && !i.IsUsed).ToArray())
        {
            graph.RemoveInitializer(constant);
        }
    }
}
