using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Operators that reorder, join, part, repeat or pad.</summary>
internal static class LayoutRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(Transpose, "Transpose");
        registry.Add(Concat, "Concat");
        registry.Add(Split, "Split");
        registry.Add(Expand, "Expand");
        registry.Add(Tile, "Tile");
        registry.Add(Pad, "Pad");
        registry.Add(DepthToSpace, "DepthToSpace");
        registry.Add(SpaceToDepth, "SpaceToDepth");
    }

    /// <summary>Sizes of a split's outputs along its axis, unknown ones null; null if they do not follow.</summary>
    internal static SymbolicExpression?[] SplitSizes(OperatorCall call, SymbolicExpression? size)
    {
        int count = call.Node.Outputs.Count;
        if ((call.Node.GetInts("split")?.Select(SymbolicExpression.Of) ?? call.ContentOf(1)?.Elements.AsEnumerable()) is { } given)
        {
            SymbolicExpression?[] sizes = [.. given];
            return sizes.Length == count ? sizes : throw call.Error($"it has {sizes.Length} split sizes but {count} outputs");
        }

        if (call.HasInput(1))
        {
            return new SymbolicExpression?[count];
        }

        // Equal parts; with num_outputs the last one may be smaller.
        SymbolicExpression? part = SymbolicExpression.FloorDivide(size + SymbolicExpression.Of(count - 1), SymbolicExpression.Of(count));
        if (!call.HasAttribute("num_outputs"))
        {
            part = SymbolicExpression.FloorDivide(size, SymbolicExpression.Of(count));
            if (size?.Constant % count is > 0)
            {
                throw call.Error($"size {size} does not split into {count} equal parts");
            }
        }

        SymbolicExpression? last = call.HasAttribute("num_outputs") ? size - (part * SymbolicExpression.Of(count - 1)) : part;
        return [.. Enumerable.Repeat(part, count - 1), last];
    }

    private static void Transpose(OperatorCall call)
    {
        Shape? result = null;
        if (call.ShapeOf(0) is Shape shape)
        {
            long[] perm = call.Node.GetInts("perm") ?? [.. Enumerable.Range(0, shape.Rank).Reverse().Select(i => (long)i)];
            if (perm.Length != shape.Rank)
            {
                throw call.Error($"perm [{string.Join(", ", perm)}] has {perm.Length} axes, but {call.Node.Inputs[0]} has rank {shape.Rank}");
            }

            result = new Shape(call.Axes(perm, shape.Rank).Select(i => shape[i]));
        }

        call.Set(0, call.TypeOf(0), result);
    }

    private static void Concat(OperatorCall call)
    {
        int[] inputs = [.. Enumerable.Range(0, call.Node.Inputs.Count)];
        DataType type = call.CommonType(inputs);
        Shape?[] shapes = [.. inputs.Select(call.ShapeOf)];
        if (Array.Find(shapes, s => s is not null) is not Shape first)
        {
            call.Set(0, type, null);
            return;
        }

        int axis = call.Axis(call.Node.GetInt("axis", call.Opset < 4 ? 1 : 0), first.Rank);
        Dimension[] dims = [.. first];
        foreach (Shape shape in shapes.OfType<Shape>().Skip(1))
        {
            if (shape.Rank != first.Rank)
            {
                throw call.Error($"inputs have ranks {first.Rank} and {shape.Rank}");
            }

            for (int i = 0; i < dims.Length; i++)
            {
                if (i != axis)
                {
                    call.RequireEqual(dims[i], shape[i], $"dimensions {i} of all inputs");
                    dims[i] = dims[i].IsKnown ? dims[i] : shape[i].IsKnown ? shape[i] : dims[i];
                }
            }
        }

        dims[axis] = shapes.Any(s => s is null) ? Dimension.Unknown : shapes.Select(s => s![axis]).Sum();
        call.Set(0, type, new Shape(dims));
    }

    private static void Split(OperatorCall call)
    {
        Shape? shape = call.ShapeOf(0);
        int axis = shape is null ? 0 : call.Axis(call.Node.GetInt("axis", 0), shape.Rank);
        SymbolicExpression?[] sizes = SplitSizes(call, shape?[axis].ToExpression());
        for (int i = 0; i < sizes.Length; i++)
        {
            call.Set(i, call.TypeOf(0), shape?.With(axis, sizes[i].ToDimensionOrUnknown()));
        }
    }

    private static void Expand(OperatorCall call)
    {
        Shape? input = call.ShapeOf(0);
        Shape? target = call.ContentOf(1)?.ToShape();
        if (target is null && call.ShapeOf(1) is [{ Value: long rank and >= 0 and <= SymbolicTensor.MaxElements }])
        {
            target = new Shape(Enumerable.Repeat(Dimension.Unknown, (int)rank));
        }

        call.Set(0, call.TypeOf(0), input is null || target is null ? null : DimensionAlgebra.Broadcast(call, input, target));
    }

    private static void Tile(OperatorCall call)
    {
        Shape? shape = call.ShapeOf(0);
        SymbolicTensor? repeats = call.ContentOf(1);
        if (shape is not null && repeats is not null && repeats.Count != shape.Rank)
        {
            throw call.Error($"it repeats {repeats.Count} axes, but {call.Node.Inputs[0]} has rank {shape.Rank}");
        }

        call.Set(0, call.TypeOf(0), shape is null ? null : new Shape(shape.Select((d, i) => (d.ToExpression() * repeats?[i]).ToDimensionOrUnknown())));
    }

    private static void Pad(OperatorCall call)
    {
        if (call.ShapeOf(0) is not Shape shape)
        {
            call.Set(0, call.TypeOf(0), null);
            return;
        }

        SymbolicTensor? pads = call.Node.GetInts("pads") is long[] attribute
            ? SymbolicTensor.Vector(attribute.Select(SymbolicExpression.Of))
            : call.ContentOf(1);
        int[]? axes = call.HasInput(3)
            ? call.NumbersOf(3) is long[] given ? call.Axes(given, shape.Rank) : null
            : [.. Enumerable.Range(0, shape.Rank)];
        if (pads is null || axes is null)
        {
            call.Set(0, call.TypeOf(0), new Shape(shape.Select(_ => Dimension.Unknown)));
            return;
        }

        if (pads.Count != 2 * axes.Length)
        {
            throw call.Error($"it has {pads.Count} pads for {axes.Length} axes; it needs two an axis");
        }

        Dimension[] dims = [.. shape];
        for (int i = 0; i < axes.Length; i++)
        {
            dims[axes[i]] = (dims[axes[i]].ToExpression() + pads[i] + pads[i + axes.Length]).ToDimensionOrUnknown();
        }

        call.Set(0, call.TypeOf(0), new Shape(dims));
    }

    private static void DepthToSpace(OperatorCall call)
    {
        call.RequireRank(0, 4);
        SymbolicExpression block = SymbolicExpression.Of(call.Node.GetInt("blocksize", 1));
        call.Set(0, call.TypeOf(0), call.ShapeOf(0) is not [var n, var c, var h, var w] ? null : new Shape(
            n,
            SymbolicExpression.FloorDivide(c.ToExpression(), block * block).ToDimensionOrUnknown(),
            (h.ToExpression() * block).ToDimensionOrUnknown(),
            (w.ToExpression() * block).ToDimensionOrUnknown()));
    }

    private static void SpaceToDepth(OperatorCall call)
    {
        call.RequireRank(0, 4);
        SymbolicExpression block = SymbolicExpression.Of(call.Node.GetInt("blocksize", 1));
        call.Set(0, call.TypeOf(0), call.ShapeOf(0) is not [var n, var c, var h, var w] ? null : new Shape(
            n,
            (c.ToExpression() * block * block).ToDimensionOrUnknown(),
            SymbolicExpression.FloorDivide(h.ToExpression(), block).ToDimensionOrUnknown(),
            SymbolicExpression.FloorDivide(w.ToExpression(), block).ToDimensionOrUnknown()));
    }
}
