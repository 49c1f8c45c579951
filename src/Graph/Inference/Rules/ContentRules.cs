using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>
/// How the content of small integer tensors passes through operators that make, pick and rearrange elements. Models
/// compute the targets of Reshape, Expand, Slice and Range this way.
/// </summary>
internal static class ContentRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.AddContent((call, _) => CreationRules.ConstantTensor(call.Node) is ITensor tensor ? SymbolicTensor.FromConstant(tensor) : null, "Constant");
        registry.AddContent((call, _) => call.TryGetShape(0, out Shape? shape) ? SymbolicTensor.OfShape(CreationRules.SelectedDimensions(call, shape)) : null, "Shape");
        registry.AddContent((call, _) => call.TryGetShape(0, out Shape? shape) ? SymbolicTensor.Scalar(shape.Product()) : null, "Size");
        registry.AddContent((call, _) => call.ContentOf(0), "Identity");
        registry.AddContent(Rearranged, "Reshape", "Squeeze", "Unsqueeze", "Flatten");
        registry.AddContent(ConstantOfShape, "ConstantOfShape");
        registry.AddContent(Range, "Range");
        registry.AddContent(Gather, "Gather");
        registry.AddContent(Slice, "Slice");
        registry.AddContent(Concat, "Concat");
        registry.AddContent(Split, "Split");
        registry.AddContent(Expand, "Expand");
        registry.AddContent(Transpose, "Transpose");
        registry.AddContent(OneHot, "OneHot");
        ArithmeticContentRules.Register(registry);
    }

    // The node's own shape inference knows the dimensions; the elements and their order stay.
    private static SymbolicTensor? Rearranged(OperatorCall call, int output) =>
        call.ContentOf(0) is SymbolicTensor content && StaticDims(call, output) is { } dims && SymbolicTensor.TryCount(dims, out int count) && count == content.Count
            ? new SymbolicTensor(dims, content.Elements)
            : null;

    private static SymbolicTensor? ConstantOfShape(OperatorCall call, int output)
    {
        if (StaticDims(call, output) is not { } dims || !SymbolicTensor.TryCount(dims, out int count))
        {
            return null;
        }

        SymbolicTensor? fill = call.Node.Attributes.TryGetValue("value", out NodeAttribute? value)
            ? SymbolicTensor.FromConstant(value.AsTensor())
            : SymbolicTensor.Scalar(SymbolicExpression.Zero);
        return fill is { Count: 1 } ? new SymbolicTensor(dims, [.. Enumerable.Repeat(fill[0], count)]) : null;
    }

    private static SymbolicTensor? Range(OperatorCall call, int output)
    {
        if (StaticDims(call, output) is not { } dims || !SymbolicTensor.TryCount(dims, out int count)
            || call.ContentOf(0) is not { Count: 1 } start || call.ContentOf(2) is not { Count: 1 } delta)
        {
            return null;
        }

        return SymbolicTensor.Vector(Enumerable.Range(0, count).Select(i => start[0] + (delta[0] * SymbolicExpression.Of(i))));
    }

    private static SymbolicTensor? Gather(OperatorCall call, int output)
    {
        if (call.ContentOf(0) is not { Dims.Length: > 0 } data || call.ContentOf(1) is not SymbolicTensor positions || positions.Constants() is not long[] indices)
        {
            return null;
        }

        int axis = call.Axis(call.Node.GetInt("axis", 0), data.Dims.Length);
        long size = data.Dims[axis];
        if (Array.Exists(indices, i => i < -size || i >= size))
        {
            throw call.Error($"index {Array.Find(indices, i => i < -size || i >= size)} lies outside axis {axis}, which has size {size}");
        }

        int indexRank = positions.Dims.Length;
        ImmutableArray<long> dims = [.. data.Dims[..axis], .. positions.Dims, .. data.Dims[(axis + 1)..]];
        return !SymbolicTensor.TryCount(dims, out _) ? null : data.Select(dims, index =>
        {
            long linear = 0;
            for (int i = 0; i < indexRank; i++)
            {
                linear = (linear * positions.Dims[i]) + index[axis + i];
            }

            long picked = indices[linear];
            return [.. index[..axis], picked < 0 ? picked + size : picked, .. index[(axis + indexRank)..]];
        });
    }

    private static SymbolicTensor? Slice(OperatorCall call, int output)
    {
        long[]? starts = SliceRule.Bounds(call, "starts", 1)?.Constants();
        long[]? ends = SliceRule.Bounds(call, "ends", 2)?.Constants();
        long[]? steps = call.HasInput(4) ? call.NumbersOf(4) : starts?.Select(_ => 1L).ToArray();
        if (call.ContentOf(0) is not SymbolicTensor data || starts is null || ends is null || steps is null
            || SliceRule.AxesOf(call, data.Dims.Length, starts.Length) is not int[] axes
            || starts.Length != axes.Length || ends.Length != axes.Length || steps.Length != axes.Length)
        {
            return null;
        }

        long[] dims = [.. data.Dims];
        long[] first = new long[dims.Length];
        long[] stride = [.. dims.Select(_ => 1L)];
        for (int i = 0; i < axes.Length; i++)
        {
            (int axis, long size) = (axes[i], dims[axes[i]]);
            long step = Math.Clamp(steps[i], -size - 1, size + 1);
            if (step == 0)
            {
                return null;
            }

            (long low, long high) = step > 0 ? (0, size) : (-1, size - 1);
            long from = Math.Clamp(starts[i] < 0 ? starts[i] + size : starts[i], low, high);
            long to = Math.Clamp(ends[i] < 0 ? ends[i] + size : ends[i], low, high);
            first[axis] = from;
            stride[axis] = step;
            dims[axis] = step > 0 ? Math.Max(0, (to - from + step - 1) / step) : Math.Max(0, (from - to - step - 1) / -step);
        }

        return data.Select([.. dims], index => [.. index.Select((p, axis) => first[axis] + (p * stride[axis]))]);
    }

    private static SymbolicTensor? Concat(OperatorCall call, int output)
    {
        // A part of which nothing is known still takes its place if it is a vector of known length.
        List<SymbolicExpression?> elements = [];
        bool vectors = true;
        for (int i = 0; i < call.Node.Inputs.Count && elements.Count <= SymbolicTensor.MaxElements; i++)
        {
            SymbolicTensor? part = call.ContentOf(i);
            if (part is { Dims.Length: 1 })
            {
                elements.AddRange(part.Elements);
            }
            else if (part is null && call.ShapeOf(i) is [{ Value: long length and >= 0 and <= SymbolicTensor.MaxElements }])
            {
                elements.AddRange(new SymbolicExpression?[length]);
            }
            else
            {
                vectors = false;
                break;
            }
        }

        return vectors && elements.Count <= SymbolicTensor.MaxElements ? SymbolicTensor.Vector(elements) : null;
    }

    private static SymbolicTensor? Split(OperatorCall call, int output)
    {
        if (call.ContentOf(0) is not { Dims: [long size] } data
            || LayoutRules.SplitSizes(call, SymbolicExpression.Of(size)).Select(s => s?.Constant).ToArray() is not { } sizes
            || Array.Exists(sizes, s => s is null or < 0) || sizes.Sum() != size)
        {
            return null;
        }

        return SymbolicTensor.Vector(data.Elements.Skip((int)sizes.Take(output).Sum()!.Value).Take((int)sizes[output]!.Value));
    }

    private static SymbolicTensor? Expand(OperatorCall call, int output) =>
        call.ContentOf(0) is SymbolicTensor content && StaticDims(call, output) is { } dims && SymbolicTensor.TryCount(dims, out _) && content.CanBroadcastTo(dims)
            ? content.BroadcastTo(dims)
            : null;

    private static SymbolicTensor? Transpose(OperatorCall call, int output)
    {
        if (call.ContentOf(0) is not SymbolicTensor content)
        {
            return null;
        }

        int rank = content.Dims.Length;
        int[] perm = call.Axes(call.Node.GetInts("perm") ?? [.. Enumerable.Range(0, rank).Reverse().Select(i => (long)i)], rank);
        return content.Select([.. perm.Select(p => content.Dims[p])], index =>
        {
            long[] source = new long[rank];
            for (int i = 0; i < rank; i++)
            {
                source[perm[i]] = index[i];
            }

            return source;
        });
    }

    // repeat_interleave is exported as OneHot with the values 1 and the repeats, then ReduceProd.
    private static SymbolicTensor? OneHot(OperatorCall call, int output)
    {
        if (call.ContentOf(0) is not SymbolicTensor positions || positions.Constants() is null || call.ContentOf(2) is not { Count: 2 } values
            || StaticDims(call, output) is not { } dims || !SymbolicTensor.TryCount(dims, out _))
        {
            return null;
        }

        int axis = call.Axis(call.Node.GetInt("axis", -1), dims.Length);
        long depth = dims[axis];
        SymbolicTensor hot = new([.. positions.Dims.Insert(axis, 1)], positions.Elements);
        SymbolicTensor range = new([.. dims.Select((d, i) => i == axis ? d : 1)], [.. Enumerable.Range(0, (int)depth).Select(i => SymbolicExpression.Of(i))]);
        return SymbolicTensor.Combine([hot, range], x => IsHot(x[0]!.Constant!.Value, x[1]!.Constant!.Value, depth) ? values[1] : values[0]);

        static bool IsHot(long position, long place, long depth) => position == place || position + depth == place;
    }

    private static ImmutableArray<long>? StaticDims(OperatorCall call, int output) =>
        call.Node.OutputOrNull(output)?.Shape is { IsStatic: true } shape ? [.. shape.ToArray()] : null;
}
