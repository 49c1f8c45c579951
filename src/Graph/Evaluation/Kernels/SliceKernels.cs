using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Parts of tensors, and tensors put together from parts.</summary>
internal static class SliceKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("Slice", Slice);
        registry.Add("Concat", Concat);
        registry.AddMany("Split", Split);
        registry.Add("Pad", Pad);
        registry.Add("Trilu", Trilu);
    }

    private static ReferenceTensor Slice(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        long[] starts = c.GetInts("starts", 1) ?? throw c.Error("starts are missing");
        long[] ends = c.GetInts("ends", 2) ?? throw c.Error("ends are missing");
        long[] axes = c.GetInts("axes", 3) ?? [.. Enumerable.Range(0, starts.Length).Select(i => (long)i)];
        long[] steps = c.InputOrNull(4) is { } given ? [.. given.Integers] : [.. starts.Select(_ => 1L)];
        if (ends.Length != starts.Length || axes.Length != starts.Length || steps.Length != starts.Length)
        {
            throw c.Error($"{starts.Length} starts, {ends.Length} ends, {axes.Length} axes and {steps.Length} steps do not match");
        }

        long[] dims = [.. x.Dims];
        long[] strides = Indexing.Strides(x.Dims);
        long offset = 0;
        for (int i = 0; i < axes.Length; i++)
        {
            int axis = c.Axis(axes[i], x.Rank);
            (long first, long count) = Bounds(c, x.Dims[axis], starts[i], ends[i], steps[i]);
            dims[axis] = count;
            offset += first * strides[axis];
            strides[axis] *= steps[i];
        }

        return x.Take(dims, Indexing.View(dims, strides, offset));
    }

    /// <summary>First position and number of positions of <c>start:end:step</c> on an axis; bounds are clamped.</summary>
    /// <remarks>
    /// Backwards, the largest int32 or int64 as end means "through the first element", which the operator's
    /// specification does not say but ONNX Runtime does.
    /// </remarks>
    private static (long First, long Count) Bounds(KernelContext c, long size, long start, long end, long step)
    {
        if (step == 0)
        {
            throw c.Error("a step is zero");
        }

        if (size == 0)
        {
            return (0, 0);
        }

        bool through = end is int.MaxValue or long.MaxValue;
        start = Math.Clamp(start < 0 ? start + size : start, 0, step > 0 ? size : size - 1);
        end = step > 0 ? Math.Clamp(end < 0 ? end + size : end, 0, size)
            : through ? -1
            : Math.Clamp(end < 0 ? end + size : end, -1, size - 1);

        // Rounded up without forming a sum that a step near the int64 limits would overflow.
        long span = step > 0 ? end - start : start - end;
        ulong magnitude = step > 0 ? (ulong)step : 0 - (ulong)step;
        return span <= 0 ? (0, 0) : (start, (long)((((ulong)span - 1) / magnitude) + 1));
    }

    private static ReferenceTensor Concat(KernelContext c)
    {
        IReadOnlyList<ReferenceTensor> parts = c.AllInputs();
        int axis = c.Axis(c.GetInt("axis", 0), parts[0].Rank);
        foreach (ReferenceTensor part in parts)
        {
            if (part.ElementType != parts[0].ElementType || part.Rank != parts[0].Rank
                || part.Dims.Where((d, i) => i != axis && d != parts[0].Dims[i]).Any())
            {
                throw c.Error($"{part} and {parts[0]} cannot be joined along axis {axis}");
            }
        }

        long[] dims = [.. parts[0].Dims];
        dims[axis] = parts.Sum(p => p.Dims[axis]);
        int outer = Indexing.Count(dims[..axis]);
        List<int> map = new(Indexing.Count(dims));
        for (int o = 0; o < outer; o++)
        {
            int start = 0;
            foreach (ReferenceTensor part in parts)
            {
                int block = part.Count / outer;
                map.AddRange(Enumerable.Range(start + (o * block), block));
                start += part.Count;
            }
        }

        return ReferenceTensor.Chain(parts).Take(dims, [.. map]);
    }

    private static ReferenceTensor[] Split(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        int axis = c.Axis(c.GetInt("axis", 0), x.Rank);
        long[] sizes = c.GetInts("split", 1) ?? EvenParts(x.Dims[axis], c.GetInt("num_outputs", c.Node.Outputs.Count));
        if (sizes.Sum() != x.Dims[axis])
        {
            throw c.Error($"parts [{string.Join(", ", sizes)}] do not add up to the {x.Dims[axis]} of axis {axis} of {x}");
        }

        long[] strides = Indexing.Strides(x.Dims);
        long start = 0;
        List<ReferenceTensor> parts = [];
        foreach (long size in sizes)
        {
            long[] dims = [.. x.Dims.SetItem(axis, size)];
            parts.Add(x.Take(dims, Indexing.View(dims, strides, start * strides[axis])));
            start += size;
        }

        return [.. parts];
    }

    // All parts of the size rounded up; the last takes what is left.
    private static long[] EvenParts(long size, long count)
    {
        long part = (size + count - 1) / count;
        return [.. Enumerable.Range(0, (int)count).Select(i => Math.Clamp(size - (i * part), 0, part))];
    }

    private static ReferenceTensor Pad(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        long[] given = c.GetInts("pads", 1) ?? throw c.Error("pads are missing");
        int[] axes = c.InputOrNull(3) is { } list ? [.. list.Integers.Select(a => c.Axis(a, x.Rank))] : [.. Enumerable.Range(0, x.Rank)];
        if (given.Length != 2 * axes.Length)
        {
            throw c.Error($"{given.Length} pads are given for {axes.Length} axes; there must be two an axis");
        }

        // Negative pads take elements away before the others add some: what is added continues what is left.
        long[] before = new long[x.Rank];
        long[] dims = [.. x.Dims];
        long[] first = new long[x.Rank];
        long[] left = [.. x.Dims];
        for (int i = 0; i < axes.Length; i++)
        {
            (int axis, long begin, long end) = (axes[i], given[i], given[i + axes.Length]);
            before[axis] = Math.Max(begin, 0);
            dims[axis] += begin + end;
            first[axis] = Math.Max(-begin, 0);
            left[axis] += Math.Min(begin, 0) + Math.Min(end, 0);
        }

        ReferenceTensor fill = c.InputOrNull(2) is { Count: 1 } value ? value.Reshaped([])
            : x.IsString ? ReferenceTensor.OfStrings([], [default])
            : ReferenceTensor.Filled(x.ElementType, [], c.GetFloat("value", 0));
        Func<long, long, long> source = PadSource(c, c.GetString("mode", "constant"));
        long[] strides = Indexing.Strides(x.Dims);
        int[] map = new int[Indexing.Count(dims)];
        for (int i = 0; i < map.Length; i++)
        {
            long[] position = Indexing.Unravel(i, dims);
            for (int axis = 0; axis < x.Rank && map[i] < x.Count; axis++)
            {
                long from = source(position[axis] - before[axis], left[axis]);
                map[i] = from < 0 ? x.Count : map[i] + (int)((first[axis] + from) * strides[axis]);
            }
        }

        return ReferenceTensor.Chain(x, fill).Take(dims, map);
    }

    /// <summary>Position inside an axis of a size that supplies a (possibly outside) position; -1 for the fill value.</summary>
    private static Func<long, long, long> PadSource(KernelContext c, string mode) => mode switch
    {
        "constant" => (position, size) => position >= 0 && position < size ? position : -1,
        "edge" => (position, size) => size > 0 ? Math.Clamp(position, 0, size - 1) : throw c.Error("an empty axis has no edge"),
        "wrap" => (position, size) => size > 0 ? IntegerMath.Modulo(DataType.Int64, position, size) : throw c.Error("an empty axis cannot wrap"),
        "reflect" => (position, size) =>
        {
            if (size <= 1)
            {
                return size == 1 ? 0 : throw c.Error("an empty axis has no reflection");
            }

            long period = 2 * (size - 1);
            long phase = IntegerMath.Modulo(DataType.Int64, position, period);
            return phase < size ? phase : period - phase;
        }
        ,
        _ => throw c.Error($"mode is '{mode}'; it must be constant, edge, reflect or wrap"),
    };

    private static ReferenceTensor Trilu(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        if (x.Rank < 2)
        {
            throw c.Error($"{x} is no matrix or batch of matrices");
        }

        bool upper = c.GetInt("upper", 1) == 1;
        long diagonal = c.InputOrNull(1)?.ToInteger() ?? 0;
        (long rows, long columns) = (x.Dims[^2], x.Dims[^1]);
        int[] map = new int[x.Count];
        for (int i = 0; i < map.Length; i++)
        {
            long row = i / columns % rows;
            long column = i % columns;
            bool kept = upper ? column >= row + diagonal : column <= row + diagonal;
            map[i] = kept ? i : x.Count;
        }

        return ReferenceTensor.Chain(x, ReferenceTensor.Filled(x.ElementType, [], 0)).Take(x.Dims, map);
    }
}
