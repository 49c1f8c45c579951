using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Strides, dilations and padding of a convolution or pooling node, with <c>auto_pad</c> resolved.</summary>
internal sealed class WindowGeometry
{
    private WindowGeometry(long[] kernel, long[] strides, long[] dilations, long[] pads)
    {
        Kernel = kernel;
        Strides = strides;
        Dilations = dilations;
        Pads = pads;
    }

    /// <summary>Window size per spatial axis.</summary>
    public long[] Kernel { get; }

    public long[] Strides { get; }

    public long[] Dilations { get; }

    /// <summary>Padding before each axis, then after each axis.</summary>
    public long[] Pads { get; }

    public int SpatialRank => Kernel.Length;

    /// <summary>Window size per axis with dilation: (k - 1) * d + 1.</summary>
    public long Extent(int axis) => ((Kernel[axis] - 1) * Dilations[axis]) + 1;

    /// <summary>Reads the geometry of the current node, a Conv or a pooling operator over <paramref name="x"/>.</summary>
    public static WindowGeometry Of(GradientContext c, Value x, long[] kernel)
    {
        Node node = c.Node;
        int rank = kernel.Length;
        long[] strides = node.GetInts("strides") ?? Ones(rank);
        long[] dilations = node.GetInts("dilations") ?? Ones(rank);
        long[] pads = node.GetInts("pads") ?? new long[2 * rank];
        string autoPad = node.GetString("auto_pad", "NOTSET");
        WindowGeometry geometry = new(kernel, strides, dilations, pads);
        switch (autoPad)
        {
            case "NOTSET":
                return geometry;
            case "VALID":
                return new WindowGeometry(kernel, strides, dilations, new long[2 * rank]);
            default:
                return new WindowGeometry(kernel, strides, dilations, SamePads(c, x, geometry, autoPad == "SAME_UPPER"));
        }
    }

    /// <summary>A kernel shape from the attribute or from a weight [M, C / group, k...].</summary>
    public static long[] KernelOf(GradientContext c, Value weight)
    {
        if (c.Node.GetInts("kernel_shape") is { } given)
        {
            return given;
        }

        return weight.Shape is { } shape && shape.Skip(2).All(d => d.IsKnown)
            ? [.. shape.Skip(2).Select(d => d.Value!.Value)]
            : throw c.Unsupported($"the window size of '{weight}' is not known", "Give the node a kernel_shape attribute.");
    }

    public static long[] Ones(int count) => [.. Enumerable.Repeat(1L, count)];

    // As much padding as makes the output ceil(input / stride) long; the odd element goes after (upper) or before (lower).
    private static long[] SamePads(GradientContext c, Value x, WindowGeometry geometry, bool upper)
    {
        int rank = geometry.SpatialRank;
        long[] pads = new long[2 * rank];
        for (int i = 0; i < rank; i++)
        {
            long size = x.Shape?[i + 2].Value ?? throw c.Unsupported(
                $"its auto_pad depends on the size of axis {i + 2} of '{x}', which is not known", "Write the padding as the pads attribute.");
            long stride = geometry.Strides[i];
            long outputs = (size + stride - 1) / stride;
            long total = Math.Max(0, ((outputs - 1) * stride) + geometry.Extent(i) - size);
            pads[i] = upper ? total / 2 : total - (total / 2);
            pads[i + rank] = total - pads[i];
        }

        return pads;
    }
}
