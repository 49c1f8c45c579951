using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y = conv(x, W) + bias: dx = transposed convolution of dy with W, dW = convolution of x with dy as the kernel (samples
/// in the place of channels, strides and dilations exchanged), dbias = sum of dy over all but the channels.
/// </summary>
internal static class ConvGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        Value x = c.Input(0);
        Value weight = c.Input(1);
        Value dy = c.OutputGradient;
        long group = c.Node.GetInt("group", 1);
        WindowGeometry geometry = WindowGeometry.Of(c, x, WindowGeometry.KernelOf(c, weight));
        return c.ForEachNeeded(i => i switch
        {
            0 => InputGradient(c, x, weight, dy, group, geometry),
            1 => WeightGradient(c, x, dy, weight, group, geometry),
            _ => BiasGradient(c, dy),
        });
    }

    /// <summary>dbias = sum of dy [N, M, ...] over all axes but the second.</summary>
    internal static Value BiasGradient(GradientContext c, Value dy) =>
        c.Builder.ReduceSum(dy, keepDims: false, [0, .. Enumerable.Range(2, c.Rank(dy) - 2).Select(i => (long)i)]);

    /// <summary>The transposed convolution that takes dy back to the shape of x.</summary>
    internal static Value InputGradient(GradientContext c, Value x, Value weight, Value dy, long group, WindowGeometry geometry)
    {
        GraphBuilder b = c.Builder;
        int rank = geometry.SpatialRank;
        long[]? remainder = Remainder(x, geometry);
        if (remainder is not null)
        {
            Value exact = b.Op(
                "ConvTranspose", [dy, weight],
                ("group", group), ("kernel_shape", geometry.Kernel), ("strides", geometry.Strides), ("dilations", geometry.Dilations),
                ("pads", geometry.Pads), ("output_padding", remainder));
            exact.Type = x.Type;
            return exact;
        }

        // How many rows the last window left over is known only at run time: compute all of the padded input that windows
        // touched, then cut the padding off and fill up to x's size.
        Value full = b.Op(
            "ConvTranspose", [dy, weight],
            ("group", group), ("kernel_shape", geometry.Kernel), ("strides", geometry.Strides), ("dilations", geometry.Dilations));
        Value begin = b.Int64s([.. geometry.Pads.Take(rank)]);
        Value missing = b.Sub(b.Add(b.ShapeOf(x, 2, rank + 2), begin), b.ShapeOf(full, 2, rank + 2));
        Value axes = b.Int64s([.. Enumerable.Range(2, rank).Select(i => (long)i)]);
        Value dx = b.Op("Pad", [full, b.Concat(0, b.Int64s([.. geometry.Pads.Take(rank).Select(p => -p)]), missing), null, axes]);
        dx.Type = x.Type;
        return dx;
    }

    /// <summary>dW [M, C / group, k...] of y = conv(x, W).</summary>
    /// <remarks>
    /// dW[m, c, k] = sum over samples n and positions p of dy[n, m, p] * x[n, c, p * stride + k * dilation - pad]: a convolution of
    /// x [C / group, group * N, ...] with the kernel dy [M, N, ...], group by group, whose stride is the dilation and the reverse.
    /// </remarks>
    internal static Value WeightGradient(GradientContext c, Value x, Value dy, Value weight, long group, WindowGeometry geometry)
    {
        GraphBuilder b = c.Builder;
        int rank = geometry.SpatialRank;
        long[] swap = [1, 0, .. Enumerable.Range(2, rank).Select(i => (long)i)];
        Value kernel = b.Transpose(dy, swap);
        Value input = group == 1 ? b.Transpose(x, swap) : SamplesPerGroup(c, x, group, rank);
        Value product = b.Op(
            "Conv", [input, kernel],
            ("group", group), ("strides", geometry.Dilations), ("dilations", geometry.Strides), ("pads", geometry.Pads));

        // Rows that the last window left over give positions beyond the kernel.
        if (Remainder(x, geometry) is not { } remainder || remainder.Any(r => r != 0))
        {
            long[] axes = [.. Enumerable.Range(2, rank).Select(i => (long)i)];
            product = b.Op("Slice", [product, b.Int64s(new long[rank]), b.Int64s(geometry.Kernel), b.Int64s(axes)]);
        }

        Value dw = b.Transpose(product, swap);
        dw.Type = weight.Type;
        return dw;
    }

    // x [N, group * C', ...] as [C', group * N, ...].
    private static Value SamplesPerGroup(GradientContext c, Value x, long group, int rank)
    {
        GraphBuilder b = c.Builder;
        Value samples = c.DimensionOf(x, 0);
        Value spatial = b.Concat(0, Enumerable.Range(2, rank).Select(i => c.DimensionOf(x, i)));
        Value perGroup = b.Op("Div", [c.DimensionOf(x, 1), b.Int64s(group)]);
        Value grouped = b.Reshape(x, b.Concat(0, samples, b.Int64s(group), perGroup, spatial));
        Value turned = b.Transpose(grouped, [2, 1, 0, .. Enumerable.Range(3, rank).Select(i => (long)i)]);
        return b.Reshape(turned, b.Concat(0, perGroup, b.Mul(samples, b.Int64s(group)), spatial));
    }

    // Rows of the padded input behind the last window, per spatial axis; null if they depend on sizes not known.
    private static long[]? Remainder(Value x, WindowGeometry geometry)
    {
        int rank = geometry.SpatialRank;
        long[] remainder = new long[rank];
        for (int i = 0; i < rank; i++)
        {
            if (geometry.Strides[i] == 1)
            {
                continue;
            }

            if (x.Shape?[i + 2].Value is not { } size)
            {
                return null;
            }

            remainder[i] = (size + geometry.Pads[i] + geometry.Pads[i + rank] - geometry.Extent(i)) % geometry.Strides[i];
        }

        return remainder;
    }
}
