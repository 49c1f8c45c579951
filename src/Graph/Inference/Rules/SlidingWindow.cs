using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Kernel, strides, dilations and padding of a convolution or pooling, one of each a spatial axis.</summary>
internal sealed class SlidingWindow
{
    private readonly long[]? _kernel;
    private readonly long[] _strides;
    private readonly long[] _dilations;
    private readonly long[] _pads;
    private readonly long[] _outputPadding;
    private readonly string _autoPad;
    private readonly bool _roundUp;

    private SlidingWindow(OperatorCall call, int axes, long[]? kernel)
    {
        _kernel = kernel;
        _strides = Attribute(call, "strides", axes, 1);
        _dilations = Attribute(call, "dilations", axes, 1);
        _pads = Attribute(call, "pads", 2 * axes, 0);
        _outputPadding = Attribute(call, "output_padding", axes, 0);
        _autoPad = call.Node.GetString("auto_pad", "NOTSET");
        _roundUp = call.Node.GetInt("ceil_mode", 0) != 0;
        if (Array.Exists(_strides, s => s <= 0))
        {
            throw call.Error($"its strides [{string.Join(", ", _strides)}] must be positive");
        }

        if (kernel is not null && (kernel.Length != axes || Array.Exists(kernel, k => k is < 0 or > int.MaxValue)))
        {
            throw call.Error($"its kernel [{string.Join(", ", kernel)}] does not fit {axes} spatial axes");
        }
    }

    /// <summary>Reads the attributes of a node.</summary>
    /// <param name="call">The call.</param>
    /// <param name="axes">Number of spatial axes.</param>
    /// <param name="kernel">Kernel size, or null if it is not known.</param>
    /// <exception cref="GraphException">An attribute has a wrong number of values.</exception>
    internal static SlidingWindow Read(OperatorCall call, int axes, long[]? kernel) => new(call, axes, kernel);

    /// <summary>Sizes of the outputs of a convolution or pooling.</summary>
    internal IEnumerable<Dimension> OutputSizes(IEnumerable<Dimension> inputs) =>
        inputs.Select((size, axis) => OutputSize(size.ToExpression(), axis).ToDimensionOrUnknown());

    /// <summary>Sizes of the outputs of a transposed convolution.</summary>
    internal IEnumerable<Dimension> TransposedSizes(IEnumerable<Dimension> inputs) =>
        inputs.Select((size, axis) => TransposedSize(size.ToExpression(), axis).ToDimensionOrUnknown());

    private static long[] Attribute(OperatorCall call, string name, int count, long defaultValue)
    {
        long[] values = call.Node.GetInts(name) is { Length: > 0 } given ? given : [.. Enumerable.Repeat(defaultValue, count)];
        return values.Length == count && Array.TrueForAll(values, v => v is >= int.MinValue and <= int.MaxValue)
            ? values
            : throw call.Error($"attribute '{name}' is [{string.Join(", ", values)}], but the input's rank asks for {count} values of 32 bits");
    }

    private SymbolicExpression? OutputSize(SymbolicExpression? size, int axis)
    {
        SymbolicExpression stride = SymbolicExpression.Of(_strides[axis]);
        if (_autoPad.StartsWith("SAME", StringComparison.Ordinal))
        {
            return SymbolicExpression.FloorDivide(size + stride - SymbolicExpression.One, stride);
        }

        if (_kernel is null)
        {
            return null;
        }

        long padBegin = _autoPad == "VALID" ? 0 : _pads[axis];
        long padEnd = _autoPad == "VALID" ? 0 : _pads[axis + _strides.Length];
        SymbolicExpression? room = size + SymbolicExpression.Of(padBegin + padEnd - Extent(axis));
        if (!_roundUp)
        {
            return SymbolicExpression.FloorDivide(room, stride) + SymbolicExpression.One;
        }

        if (room?.Constant is not long free || size?.Constant is not long width)
        {
            return null;
        }

        // Rounded up, but a window must not start in the padding at the end.
        long count = ((free + _strides[axis] - 1) / _strides[axis]) + 1;
        return SymbolicExpression.Of((count - 1) * _strides[axis] >= width + padBegin ? count - 1 : count);
    }

    private SymbolicExpression? TransposedSize(SymbolicExpression? size, int axis)
    {
        SymbolicExpression stride = SymbolicExpression.Of(_strides[axis]);
        if (_autoPad.StartsWith("SAME", StringComparison.Ordinal))
        {
            return size * stride;
        }

        if (_kernel is null)
        {
            return null;
        }

        long pads = _autoPad == "VALID" ? 0 : _pads[axis] + _pads[axis + _strides.Length];
        return ((size - SymbolicExpression.One) * stride) + SymbolicExpression.Of(_outputPadding[axis] + Extent(axis) - pads);
    }

    private long Extent(int axis) => ((_kernel![axis] - 1) * _dilations[axis]) + 1;
}
