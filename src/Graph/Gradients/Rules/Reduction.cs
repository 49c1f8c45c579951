using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>A reducing node seen from its gradient: which axes went, and how to bring them back.</summary>
internal sealed class Reduction
{
    private readonly GradientContext _context;
    private readonly bool _keepDims;
    private readonly Value? _axesValue;
    private readonly long[]? _axes;
    private readonly bool _takesAll;

    public Reduction(GradientContext context)
    {
        _context = context;
        _keepDims = context.Node.GetInt("keepdims", 1) != 0;
        _axesValue = context.Node.InputOrNull(1);
        long[]? given = _axesValue is null ? context.Node.GetInts("axes") ?? [] : context.ConstantInts(1);
        if (given is { Length: 0 })
        {
            _axesValue = null;
            _takesAll = context.Node.GetInt("noop_with_empty_axes", 0) == 0;
        }

        _axes = given is null || _takesAll ? null : [.. given.Select(a => (long)context.Axis(a, X)).Order()];
    }

    private Value X => _context.Input(0);

    private GraphBuilder Builder => _context.Builder;

    /// <summary>Puts axes of size 1 back where the output lacks the reduced ones, so that it broadcasts to the input.</summary>
    public Value Restore(Value reduced)
    {
        // A result without leading axes broadcasts as it is.
        bool onlyLeading = _takesAll || (_axes is not null && _axes.Select((a, i) => a == i).All(same => same));
        return _keepDims || onlyLeading ? reduced
            : _axes is not null ? Builder.Unsqueeze(reduced, _axes)
            : Builder.Op("Unsqueeze", [reduced, _axesValue]);
    }

    /// <summary>Sums a tensor of the input's shape over the same axes, kept as 1.</summary>
    public Value Sum(Value value) => Reduce("ReduceSum", value);

    /// <summary>Multiplies a tensor of the input's shape over the same axes, kept as 1.</summary>
    public Value Product(Value value) => Reduce("ReduceProd", value);

    /// <summary>How many elements one element of the output stands for, if it is known.</summary>
    public double? StaticCount => _takesAll ? X.Shape?.ElementCount
        : _axes is not null && _axes.All(a => X.Shape![(int)a].IsKnown) ? _axes.Aggregate(1.0, (n, a) => n * X.Shape![(int)a].Value!.Value)
        : null;

    /// <summary>How many elements one element of the output stands for, as a scalar of the input's type.</summary>
    public Value CountValue()
    {
        Value count = _takesAll ? Product(_context.ShapeOf(X))
            : _axes is not null ? Product(Builder.Concat(0, _axes.Select(a => _context.DimensionOf(X, (int)a))))
            : Builder.Div(Product(_context.ShapeOf(X)), Builder.Op("Max", [Product(_context.ShapeOf(_context.Output(0))), Builder.Scalar(1L)]));
        return Builder.Cast(count, X.ElementType);

        Value Product(Value dims) => Builder.Op("ReduceProd", [dims], ("keepdims", 0));
    }

    private Value Reduce(string opType, Value value) => _axes is { Length: 0 } ? value
        : _takesAll ? Builder.Op(opType, [value], ("keepdims", 1))
        : Builder.Op(opType, [value, _axes is null ? _axesValue : Builder.Int64s(_axes)], ("keepdims", 1));
}
