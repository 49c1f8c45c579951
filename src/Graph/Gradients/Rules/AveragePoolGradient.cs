using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y = mean of x over windows: each element of a window gets dy / (divisor of the window), spread by a transposed
/// convolution with a kernel of ones. Channels are independent, so they count as samples of one channel.
/// </summary>
/// <remarks>
/// The divisor depends on count_include_pad and ceil_mode; rather than repeat those rules, it is read off the operator itself:
/// (number of x's elements in the window) / (average pooling of ones).
/// </remarks>
internal static class AveragePoolGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        Value dy = c.OutputGradient;
        long[] kernel = c.Node.GetInts("kernel_shape") ?? throw new GraphException($"{c.Node.Describe()} lacks its kernel_shape.");
        int rank = kernel.Length;
        WindowGeometry geometry = WindowGeometry.Of(c, x, kernel);
        bool ceil = c.Node.GetInt("ceil_mode", 0) != 0;
        Value ones = b.Constant(Ones(x.ElementType, [1, 1, .. kernel]));

        bool fixedDivisor = !ceil && (c.Node.GetInt("count_include_pad", 0) != 0 || geometry.Pads.All(p => p == 0));
        Value share = fixedDivisor
            ? b.Mul(dy, 1.0 / kernel.Aggregate(1.0, (n, k) => n * k))
            : b.Div(dy, Divisor(c, geometry, ones));

        Value samples = b.Mul(c.DimensionOf(x, 0), c.DimensionOf(x, 1));
        Value outputSize = b.Concat(0, Enumerable.Range(2, rank).Select(i => c.DimensionOf(c.Output(0), i)));
        Value perChannel = b.Reshape(share, b.Concat(0, samples, b.Int64s(1), outputSize));

        // All of the padded input that windows touched, then without the padding and up to x's size.
        Value full = b.Op("ConvTranspose", [perChannel, ones], ("kernel_shape", kernel), ("strides", geometry.Strides), ("dilations", geometry.Dilations));
        Value begin = b.Int64s([.. geometry.Pads.Take(rank)]);
        Value size = b.Concat(0, Enumerable.Range(2, rank).Select(i => c.DimensionOf(x, i)));
        Value missing = b.Sub(b.Add(size, begin), b.ShapeOf(full, 2, rank + 2));
        Value axes = b.Int64s([.. Enumerable.Range(2, rank).Select(i => (long)i)]);
        Value cut = b.Op("Pad", [full, b.Concat(0, b.Int64s([.. geometry.Pads.Take(rank).Select(p => -p)]), missing), null, axes]);
        return [c.ReshapeLike(cut, x)];
    }

    // [1, 1, output size]: the same for all samples and channels.
    private static Value Divisor(GradientContext c, WindowGeometry geometry, Value kernelOfOnes)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        int rank = geometry.SpatialRank;
        Value size = b.Concat(0, [b.Int64s(1, 1), .. Enumerable.Range(2, rank).Select(i => c.DimensionOf(x, i))]);
        Value ones = b.Op("ConstantOfShape", [size], ("value", Constants.Filled(x.ElementType, 1)));
        Value average = b.Op("AveragePool", [ones], [.. c.Node.Attributes.Select(a => (a.Key, a.Value))]);

        // Number of x's elements in each window. With ceil_mode the last window may reach beyond the padding: pad enough for it.
        Value outputSize = b.Concat(0, Enumerable.Range(2, rank).Select(i => c.DimensionOf(c.Output(0), i)));
        Value strides = b.Int64s(geometry.Strides);
        Value reach = b.Add(b.Mul(b.Sub(outputSize, b.Scalar(1L)), strides), b.Int64s([.. Enumerable.Range(0, rank).Select(geometry.Extent)]));
        Value begin = b.Int64s([.. geometry.Pads.Take(rank)]);
        Value after = b.Sub(b.Sub(reach, begin), b.ShapeOf(ones, 2, rank + 2));
        Value axes = b.Int64s([.. Enumerable.Range(2, rank).Select(i => (long)i)]);
        Value padded = b.Op("Pad", [ones, b.Concat(0, begin, after), null, axes]);
        Value count = b.Op("Conv", [padded, kernelOfOnes], ("kernel_shape", geometry.Kernel), ("strides", geometry.Strides), ("dilations", geometry.Dilations));
        return b.Div(count, average);
    }

    private static DenseTensor Ones(DataType type, long[] dims)
    {
        int count = (int)dims.Aggregate(1L, (n, d) => n * d);
        return type == DataType.Double
            ? DenseTensor.Of(dims, Enumerable.Repeat(1.0, count).ToArray())
            : DenseTensor.Of(dims, Enumerable.Repeat(1f, count).ToArray());
    }
}
