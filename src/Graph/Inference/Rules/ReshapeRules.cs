using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Operators that keep the elements and their order and change the dimensions.</summary>
internal static class ReshapeRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(Reshape, "Reshape");
        registry.Add(Flatten, "Flatten");
        registry.Add(Squeeze, "Squeeze");
        registry.Add(Unsqueeze, "Unsqueeze");
    }

    /// <summary>Dimensions after a squeeze; null where it is not known which axes have size 1.</summary>
    internal static Shape? Squeezed(OperatorCall call, Shape shape, long[]? axes)
    {
        if (axes is null)
        {
            return shape.IsStatic ? new Shape(shape.Where(d => d.Value != 1)) : null;
        }

        int[] removed = call.Axes(axes, shape.Rank);
        foreach (int axis in removed)
        {
            if (shape[axis].IsKnown && shape[axis].Value != 1)
            {
                throw call.Error($"axis {axis} of {call.Node.Inputs[0]} has size {shape[axis]}; only axes of size 1 can be removed");
            }
        }

        return new Shape(shape.Where((_, i) => !removed.Contains(i)));
    }

    /// <summary>Dimensions after an unsqueeze; axes count in the output.</summary>
    internal static Shape Unsqueezed(OperatorCall call, Shape shape, long[] axes)
    {
        int rank = shape.Rank + axes.Length;
        int[] added = call.Axes(axes, rank);
        using IEnumerator<Dimension> rest = shape.GetEnumerator();
        Dimension[] dims = new Dimension[rank];
        for (int i = 0; i < rank; i++)
        {
            dims[i] = added.Contains(i) ? 1 : rest.MoveNext() ? rest.Current : Dimension.Unknown;
        }

        return new Shape(dims);
    }

    private static void Reshape(OperatorCall call)
    {
        if (call.HasInput(1))
        {
            call.RequireType(1, DataType.Int64);
        }

        // Below opset 5 the target was an attribute.
        SymbolicTensor? target = call.Node.GetInts("shape") is long[] attribute
            ? SymbolicTensor.Vector(attribute.Select(SymbolicExpression.Of))
            : call.ContentOf(1);
        if (target is null)
        {
            // The number of target dimensions is the output's rank, even where they are computed.
            bool hasRank = call.ShapeOf(1) is [{ Value: long }];
            call.Set(0, call.TypeOf(0), hasRank && call.ShapeOf(1)![0].Value is long rank and >= 0 and <= SymbolicTensor.MaxElements
                ? new Shape(Enumerable.Repeat(Dimension.Unknown, (int)rank))
                : null);
            return;
        }

        call.Set(0, call.TypeOf(0), Reshaped(call, call.ShapeOf(0), target));
    }

    private static Shape Reshaped(OperatorCall call, Shape? input, SymbolicTensor target)
    {
        bool zeroCopies = call.Node.GetInt("allowzero", 0) == 0;
        SymbolicExpression?[] dims = new SymbolicExpression?[target.Count];
        List<int> open = [];
        bool hasMinusOne = false;
        for (int i = 0; i < dims.Length; i++)
        {
            dims[i] = target[i];
            switch (target[i]?.Constant)
            {
                case 0 when zeroCopies:
                    dims[i] = input is null ? null
                        : i < input.Rank ? input[i].ToExpression()
                        : throw call.Error($"target dimension {i} is 0, which copies a dimension that {call.Node.Inputs[0]} does not have");
                    break;
                case -1 when hasMinusOne:
                    throw call.Error("the target shape has -1 more than once");
                case -1:
                    hasMinusOne = true;
                    dims[i] = null;
                    open.Add(i);
                    break;
                case < -1:
                    throw call.Error($"target dimension {i} is {target[i]}");
                default:
                    if (dims[i] is null)
                    {
                        open.Add(i);
                    }

                    break;
            }
        }

        Close(call, input, dims, open);
        return new Shape(dims.Select(d => d.ToDimensionOrUnknown()));
    }

    // One open dimension is what is left of the elements, whether it was written -1 or is just not known.
    private static void Close(OperatorCall call, Shape? input, SymbolicExpression?[] dims, List<int> open)
    {
        SymbolicExpression? total = input?.Product();
        SymbolicExpression? rest = dims.Where((_, i) => !open.Contains(i)).Aggregate(SymbolicExpression.One, (SymbolicExpression? p, SymbolicExpression? d) => p * d);
        bool mismatch = total?.Constant is long elements && rest?.Constant is long known
            && (open.Count == 0 ? elements != known : known != 0 && elements % known != 0);
        if (mismatch)
        {
            throw call.Error(
                $"{call.Node.Inputs[0]} has {total} elements, which do not fit the target shape [{string.Join(", ", dims.Select(d => d?.ToString() ?? "?"))}]");
        }

        if (open.Count == 1)
        {
            dims[open[0]] = SymbolicExpression.FloorDivide(total, rest);
        }
    }

    private static void Flatten(OperatorCall call)
    {
        Shape? result = null;
        if (call.ShapeOf(0) is Shape shape)
        {
            long axis = call.Node.GetInt("axis", 1);
            int split = axis == shape.Rank ? shape.Rank : call.Axis(axis, Math.Max(shape.Rank, 1));
            result = new Shape(shape.Take(split).Product().ToDimensionOrUnknown(), shape.Skip(split).Product().ToDimensionOrUnknown());
        }

        call.Set(0, call.TypeOf(0), result ?? new Shape(Dimension.Unknown, Dimension.Unknown));
    }

    private static void Squeeze(OperatorCall call)
    {
        long[]? axes = call.IntsFrom("axes", 1, out bool isKnown);
        Shape? shape = call.ShapeOf(0);
        if (shape is not null && !isKnown)
        {
            bool hasCount = call.ShapeOf(1) is [{ Value: long }];
            long count = hasCount ? call.ShapeOf(1)![0].Value!.Value : long.MaxValue;
            call.Set(0, call.TypeOf(0), count <= shape.Rank ? new Shape(Enumerable.Repeat(Dimension.Unknown, shape.Rank - (int)count)) : null);
            return;
        }

        call.Set(0, call.TypeOf(0), shape is null ? null : Squeezed(call, shape, axes));
    }

    private static void Unsqueeze(OperatorCall call)
    {
        long[]? axes = call.IntsFrom("axes", 1, out _);
        Shape? shape = call.ShapeOf(0);
        call.Set(0, call.TypeOf(0), shape is null || axes is null ? null : Unsqueezed(call, shape, axes));
    }
}
