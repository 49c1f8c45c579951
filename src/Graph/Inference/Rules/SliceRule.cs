using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Slice: bounds from attributes (below opset 10) or inputs, clamped as NumPy does.</summary>
internal static class SliceRule
{
    // Exporters write "to the end" as the largest integer of some width.
    private const long Open = int.MaxValue;

    internal static void Infer(OperatorCall call)
    {
        if (call.ShapeOf(0) is not Shape shape)
        {
            call.Set(0, call.TypeOf(0), null);
            return;
        }

        SymbolicTensor? starts = Bounds(call, "starts", 1);
        SymbolicTensor? ends = Bounds(call, "ends", 2);
        int[]? axes = AxesOf(call, shape.Rank, starts?.Count ?? ends?.Count);
        SymbolicTensor? steps = call.ContentOf(4);
        if (axes is null)
        {
            call.Set(0, call.TypeOf(0), new Shape(shape.Select(_ => Dimension.Unknown)));
            return;
        }

        if (new[] { starts, ends, steps }.Any(t => t is not null && t.Count != axes.Length))
        {
            throw call.Error($"it cuts {axes.Length} axes, but has {starts?.Count} starts, {ends?.Count} ends and {steps?.Count} steps");
        }

        Dimension[] dims = [.. shape];
        for (int i = 0; i < axes.Length; i++)
        {
            SymbolicExpression? step = call.HasInput(4) ? steps?[i] : SymbolicExpression.One;
            dims[axes[i]] = Length(call, dims[axes[i]].ToExpression(), starts?[i], ends?[i], step?.Constant).ToDimensionOrUnknown();
        }

        call.Set(0, call.TypeOf(0), new Shape(dims));
    }

    /// <summary>Axes that a slice cuts, counted from the front; null if not known.</summary>
    internal static int[]? AxesOf(OperatorCall call, int rank, int? bounds)
    {
        long[]? axes = call.IntsFrom("axes", 3, out bool isKnown);
        return axes is not null ? call.Axes(axes, rank)
            : isKnown && bounds is int count ? call.Axes([.. Enumerable.Range(0, count).Select(i => (long)i)], rank)
            : null;
    }

    internal static SymbolicTensor? Bounds(OperatorCall call, string attribute, int input) =>
        call.Node.GetInts(attribute) is long[] values ? SymbolicTensor.Vector(values.Select(SymbolicExpression.Of)) : call.ContentOf(input);

    private static SymbolicExpression? Length(
        OperatorCall call, SymbolicExpression? size, SymbolicExpression? start, SymbolicExpression? end, long? step)
    {
        if (size is null || step is null)
        {
            return null;
        }

        if (step == 0)
        {
            throw call.Error("its step is 0");
        }

        if (step > 0)
        {
            return CeilDivide(ForwardLength(size, start, end), step.Value);
        }

        return BackwardLength(size, start?.Constant, end?.Constant, step.Value);
    }

    private static SymbolicExpression? ForwardLength(SymbolicExpression size, SymbolicExpression? start, SymbolicExpression? end)
    {
        SymbolicExpression? last = Clamp(end, size);
        if (start is { Constant: < 0 } && last is not null && last.Equals(size))
        {
            return SymbolicExpression.Min(-start, size);
        }

        // A start beyond the end needs no clamping: the length is then negative, hence 0.
        SymbolicExpression? first = start?.LowerBound >= 0 ? start : Clamp(start, size);
        return SymbolicExpression.Max(last - first, SymbolicExpression.Zero);
    }

    private static SymbolicExpression? BackwardLength(SymbolicExpression size, long? start, long? end, long step)
    {
        if (start is null || end is null || step == long.MinValue)
        {
            return null;
        }

        if (size.Constant is not long count)
        {
            return (start == -1 || start >= Open) && end <= -Open ? CeilDivide(size, -step) : null;
        }

        long first = Math.Clamp(start < 0 ? start.Value + count : start.Value, -1, count - 1);
        long last = Math.Clamp(end < 0 ? end.Value + count : end.Value, -1, count - 1);
        return CeilDivide(SymbolicExpression.Of(Math.Max(0, first - last)), -step);
    }

    private static SymbolicExpression? Clamp(SymbolicExpression? bound, SymbolicExpression size) => bound switch
    {
        null => null,
        { Constant: >= Open } => size,
        { LowerBound: >= 0 } => SymbolicExpression.Min(bound, size),
        { Constant: < 0 } => SymbolicExpression.Max(size + bound, SymbolicExpression.Zero),
        _ => null,
    };

    private static SymbolicExpression? CeilDivide(SymbolicExpression? length, long step) =>
        SymbolicExpression.FloorDivide(length + SymbolicExpression.Of(step - 1), SymbolicExpression.Of(step));
}
