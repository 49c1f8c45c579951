using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference;

/// <summary>
/// What inference knows beyond one node: the operator sets in use, the content of small integer tensors that it
/// followed, and equalities between dimensions that operators demand. Valid as long as the graph does not change.
/// </summary>
public sealed class InferenceContext
{
    // A walk in execution order finds the inputs' content remembered; only a single node's context looks back.
    private const int MaxDepth = 64;
    private readonly IReadOnlyDictionary<string, long> _opsets;
    private readonly Dictionary<Value, SymbolicTensor?> _contents = [];
    private readonly Dictionary<string, SymbolicExpression> _expressions = new(StringComparer.Ordinal);
    private readonly Dictionary<string, SymbolicExpression> _equalities = new(StringComparer.Ordinal);
    private readonly HashSet<string> _fresh = new(StringComparer.Ordinal);
    private readonly HashSet<OnnxGraph> _unrunnable = [];
    private int _depth;

    /// <summary>Creates a context for graphs that use one version of ONNX's own operators.</summary>
    public InferenceContext(long opset)
        : this(new Dictionary<string, long> { [""] = opset })
    {
    }

    /// <summary>Creates a context.</summary>
    /// <param name="opsets">Operator sets in use: domain (empty for ONNX's own) to version.</param>
    public InferenceContext(IEnumerable<KeyValuePair<string, long>> opsets)
    {
        _opsets = new Dictionary<string, long>(opsets);
    }

    /// <summary>Version of a domain's operators; 1 if the model does not say.</summary>
    public long OpsetOf(string domain) => _opsets.TryGetValue(domain, out long version) ? version : 1;

    /// <summary>Elements of a small integer tensor that follow from constants and shapes alone.</summary>
    /// <returns>The elements, row-major, each null where unknown; null if nothing is known of the tensor.</returns>
    public IReadOnlyList<SymbolicExpression?>? TryGetContent(Value value) => ContentOf(value)?.Elements;

    /// <summary>The expression of a dimension; null if it has neither number nor symbol.</summary>
    internal SymbolicExpression? ExpressionOf(Dimension dimension)
    {
        if (dimension.Symbol is not string symbol)
        {
            return SymbolicExpression.From(dimension);
        }

        if (!_expressions.TryGetValue(symbol, out SymbolicExpression? expression))
        {
            _expressions[symbol] = expression = Resolve(SymbolicSyntax.ParseOrQuote(symbol))!;
        }

        return expression;
    }

    /// <summary>The shape of a value with canonical symbols; dimensions of which nothing is known get a symbol of their own.</summary>
    internal Shape? ShapeOf(Value value) => value.Shape is Shape shape
        ? new Shape(shape.Select((d, axis) => ExpressionOf(d)?.ToDimension() ?? FreshDimension(value, axis)))
        : null;

    /// <summary>A dimension that is equal to itself only; its name is derived from the value's, hence unique in the graph.</summary>
    internal Dimension FreshDimension(Value value, int axis)
    {
        SymbolicExpression symbol = SymbolicExpression.Symbol($"{value.Name}#{axis}");
        if (value.Producer is not null)
        {
            _fresh.Add(symbol.ToString());
        }

        return Resolve(symbol)!.ToDimension();
    }

    /// <summary>
    /// Notes that two dimensions are equal wherever the graph runs at all. If one of them is a factor that inference
    /// made up, it is read as the other from now on.
    /// </summary>
    internal void RequireEqual(Dimension left, Dimension right)
    {
        if (ExpressionOf(left) is SymbolicExpression a && ExpressionOf(right) is SymbolicExpression b && !a.Equals(b) && !TryExplain(a, b))
        {
            TryExplain(b, a);
        }
    }

    /// <summary>The expression with all factors replaced that are known to equal something plainer; unchanged if that outgrows the limits.</summary>
    internal SymbolicExpression? Resolve(SymbolicExpression? expression) =>
        expression is null || _equalities.Count == 0 ? expression : expression.Substitute(_equalities.GetValueOrDefault) ?? expression;

    /// <summary>Notes that a branch cannot run on the types that reach it.</summary>
    internal void MarkUnrunnable(OnnxGraph branch) => _unrunnable.Add(branch);

    /// <summary>Whether a branch cannot run on the types that reach it.</summary>
    internal bool IsUnrunnable(OnnxGraph branch) => _unrunnable.Contains(branch);

    /// <summary>Replaces factors in the type of a value that turned out to equal something plainer.</summary>
    internal void Simplify(Value value)
    {
        if (_equalities.Count > 0 && value.Type is OnnxType.Tensor { Shape: Shape shape } type && !shape.IsStatic)
        {
            value.Type = type with { Shape = new Shape(shape.Select(d => ExpressionOf(d)?.ToDimension() ?? d)) };
        }
    }

    /// <summary>Works out and remembers the contents of a node's outputs.</summary>
    internal void FollowContent(Node node)
    {
        foreach (Value output in node.Outputs)
        {
            ContentOf(output);
        }
    }

    /// <summary>Content of a value as far as it is known.</summary>
    internal SymbolicTensor? ContentOf(Value value)
    {
        if (_contents.TryGetValue(value, out SymbolicTensor? known))
        {
            return known;
        }

        if (value.Initializer is ITensor constant)
        {
            known = value.IsGraphInput ? null : SymbolicTensor.FromConstant(constant);
        }
        else if (value.Producer is Node producer && _depth < MaxDepth && OperatorRegistry.TryGetContentRule(producer, out ContentRule? rule))
        {
            _depth++;
            try
            {
                known = rule(new OperatorCall(producer, this), value.ProducerIndex);
            }
            finally
            {
                _depth--;
            }
        }

        return _contents[value] = known;
    }

    // Only a factor made up by inference is explained by another expression; nothing says which of two names of
    // graph inputs is the cause. Replacements are kept free of replaced factors.
    private bool TryExplain(SymbolicExpression unexplained, SymbolicExpression other)
    {
        if (unexplained.SingleAtom is not SymbolicAtom atom || (atom.Kind == SymbolicAtomKind.Symbol && !_fresh.Contains(atom.Text)))
        {
            return false;
        }

        string factor = atom.Text;
        if (other.Substitute(text => text == factor ? SymbolicExpression.Zero : null) is not SymbolicExpression without || !without.Equals(other))
        {
            return false;
        }

        foreach (string known in _equalities.Keys.ToArray())
        {
            _equalities[known] = _equalities[known].Substitute(text => text == factor ? other : null) ?? _equalities[known];
        }

        _equalities[factor] = other;
        _expressions.Clear();
        return true;
    }
}
