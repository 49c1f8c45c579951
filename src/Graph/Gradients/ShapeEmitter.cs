using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>
/// Emits shapes and reshapes as cheaply as inference allows: constants where the dimensions are numbers, dimensions
/// of graph inputs where a symbol names them, and only otherwise the shape of the value itself. A <c>Shape</c> node
/// that reads an activation during the backward pass would keep that activation in memory until then.
/// </summary>
internal sealed class ShapeEmitter
{
    private readonly GraphBuilder _builder;
    private readonly Dictionary<string, (Value Input, int Axis)> _symbolSources = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Value> _symbols = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Value> _shapes = new(StringComparer.Ordinal);
    private readonly Dictionary<Value, Value> _shapeNodes = [];
    private readonly Dictionary<(Value, int), Value> _dimensions = [];

    public ShapeEmitter(GraphBuilder builder)
    {
        _builder = builder;
        foreach (Value input in builder.Graph.RequiredInputs)
        {
            for (int axis = 0; axis < (input.Shape?.Rank ?? 0); axis++)
            {
                if (input.Shape![axis].Symbol is { } symbol)
                {
                    _symbolSources.TryAdd(symbol, (input, axis));
                }
            }
        }
    }

    /// <summary>The dimensions of a value, int64 [rank].</summary>
    public Value Of(Value value)
    {
        if (value.Shape is not { } shape || !shape.All(HasSource))
        {
            return ShapeNode(value);
        }

        if (shape.IsStatic)
        {
            return _builder.Int64s(shape.ToArray());
        }

        string key = shape.ToString();
        if (!_shapes.TryGetValue(key, out Value? known))
        {
            known = _builder.Concat(0, Pieces(shape));
            _shapes[key] = known;
        }

        return known;
    }

    /// <summary>One dimension of a value, int64 [1]; a negative axis counts from the last.</summary>
    public Value Dimension(Value value, int axis)
    {
        if (value.Shape is not { } shape)
        {
            return _builder.ShapeOf(value, axis, axis == -1 ? long.MaxValue : axis + 1);
        }

        axis = axis < 0 ? axis + shape.Rank : axis;
        return HasSource(shape[axis]) ? Piece(shape[axis])
            : _dimensions.TryGetValue((value, axis), out Value? known) ? known
            : _dimensions[(value, axis)] = _builder.ShapeOf(value, axis, axis + 1);
    }

    /// <summary>Gives <paramref name="value"/> the shape of <paramref name="target"/>, which has as many elements.</summary>
    public Value ReshapeLike(Value value, Value target)
    {
        if (value.Shape is { } from && from.IsSameAs(target.Shape))
        {
            return value;
        }

        Value reshaped = target.Shape is { } to && ReshapeDims.Constant(value.Shape, to) is { } dims
            ? _builder.Reshape(value, dims)
            : _builder.Op("Reshape", [value, Of(target)], ("allowzero", 1));
        reshaped.Type = new OnnxType.Tensor(value.ElementType, target.Shape);
        return reshaped;
    }

    private bool HasSource(Dimension dimension) =>
        dimension.IsKnown || (dimension.Symbol is { } symbol && _symbolSources.ContainsKey(symbol));

    private Value ShapeNode(Value value) =>
        _shapeNodes.TryGetValue(value, out Value? known) ? known : _shapeNodes[value] = _builder.ShapeOf(value);

    private List<Value> Pieces(Shape shape)
    {
        List<Value> pieces = [];
        List<long> numbers = [];
        foreach (Dimension dimension in shape)
        {
            if (dimension.Value is { } number)
            {
                numbers.Add(number);
                continue;
            }

            FlushNumbers();
            pieces.Add(Piece(dimension));
        }

        FlushNumbers();
        return pieces;

        void FlushNumbers()
        {
            if (numbers.Count > 0)
            {
                pieces.Add(_builder.Int64s([.. numbers]));
                numbers.Clear();
            }
        }
    }

    private Value Piece(Dimension dimension)
    {
        if (dimension.Value is { } number)
        {
            return _builder.Int64s(number);
        }

        string symbol = dimension.Symbol!;
        if (!_symbols.TryGetValue(symbol, out Value? known))
        {
            (Value input, int axis) = _symbolSources[symbol];
            known = _builder.ShapeOf(input, axis, axis + 1);
            _symbols[symbol] = known;
        }

        return known;
    }
}
