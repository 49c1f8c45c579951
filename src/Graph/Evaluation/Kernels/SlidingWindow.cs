namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>
/// How a kernel slides over the spatial axes of an image: which input position lies under each kernel position at
/// each output position. Shared by convolutions and pooling, for any number of spatial axes.
/// </summary>
internal sealed class SlidingWindow
{
    /// <summary>Marks a kernel position over the padding.</summary>
    public const int Padding = -1;

    /// <summary>Marks a kernel position beyond the padding, where rounding the output size up has put the last window.</summary>
    public const int Beyond = -2;

    private SlidingWindow(long[] input, long[] kernel, long[] strides, long[] dilations, long[] padsBegin, long[] padsEnd, long[] output)
    {
        Output = output;
        int[][] axes = [.. input.Select((size, axis) => AxisTable(
            size, kernel[axis], strides[axis], dilations[axis], padsBegin[axis], padsEnd[axis], output[axis]))];
        Table = Combine(axes, input, kernel, output);
    }

    /// <summary>Sizes of the output's spatial axes.</summary>
    public long[] Output { get; }

    /// <summary>
    /// For every output position (row-major over the spatial axes) and kernel position, the flat spatial index of the
    /// input, <see cref="Padding"/> or <see cref="Beyond"/>.
    /// </summary>
    public int[][] Table { get; }

    /// <summary>The window of a convolution or pooling node, from its attributes.</summary>
    /// <param name="c">The node.</param>
    /// <param name="input">Spatial sizes of the input.</param>
    /// <param name="kernel">Spatial sizes of the kernel.</param>
    public static SlidingWindow Forward(KernelContext c, long[] input, long[] kernel)
    {
        int rank = input.Length;
        long[] strides = c.GetInts("strides") ?? Ones(rank);
        long[] dilations = c.GetInts("dilations") ?? Ones(rank);
        long[] pads = c.GetInts("pads") ?? new long[2 * rank];
        long[] extent = [.. kernel.Select((k, i) => ((k - 1) * dilations[i]) + 1)];
        long[] output = new long[rank];
        (long[] begin, long[] end) = (pads[..rank], pads[rank..]);
        string autoPad = c.GetString("auto_pad", "NOTSET");
        bool roundUp = c.GetInt("ceil_mode", 0) == 1;
        for (int i = 0; i < rank; i++)
        {
            switch (autoPad)
            {
                case "SAME_UPPER" or "SAME_LOWER":
                    output[i] = (input[i] + strides[i] - 1) / strides[i];
                    long total = Math.Max(0, ((output[i] - 1) * strides[i]) + extent[i] - input[i]);
                    begin[i] = autoPad == "SAME_UPPER" ? total / 2 : total - (total / 2);
                    end[i] = total - begin[i];
                    break;
                case "NOTSET" or "VALID":
                    (begin[i], end[i]) = autoPad == "VALID" ? (0, 0) : (begin[i], end[i]);
                    output[i] = OutputSize(input[i] + begin[i] + end[i] - extent[i], strides[i], roundUp, input[i] + begin[i]);
                    break;
                default:
                    throw c.Error($"auto_pad is '{autoPad}'; it must be NOTSET, VALID, SAME_UPPER or SAME_LOWER");
            }
        }

        return new(input, kernel, strides, dilations, begin, end, output);
    }

    /// <summary>
    /// The window whose input and output a transposed convolution exchanges: <see cref="Table"/> leads from each
    /// position of the node's input to positions of its output, of spatial sizes <paramref name="output"/>.
    /// </summary>
    public static SlidingWindow Transposed(KernelContext c, long[] input, long[] kernel, out long[] output)
    {
        int rank = input.Length;
        long[] strides = c.GetInts("strides") ?? Ones(rank);
        long[] dilations = c.GetInts("dilations") ?? Ones(rank);
        long[] pads = c.GetInts("pads") ?? new long[2 * rank];
        long[] outputPadding = c.GetInts("output_padding") ?? new long[rank];
        long[]? wanted = c.GetInts("output_shape");
        string autoPad = c.GetString("auto_pad", "NOTSET");
        (long[] begin, long[] end) = (pads[..rank], pads[rank..]);
        output = new long[rank];
        for (int i = 0; i < rank; i++)
        {
            long full = (strides[i] * (input[i] - 1)) + outputPadding[i] + ((kernel[i] - 1) * dilations[i]) + 1;
            bool same = autoPad is "SAME_UPPER" or "SAME_LOWER";
            if (wanted is not null || same)
            {
                output[i] = wanted is null ? input[i] * strides[i] : wanted[wanted.Length - rank + i];
                long total = Math.Max(0, full - output[i]);
                begin[i] = autoPad == "SAME_UPPER" ? total / 2 : total - (total / 2);
                end[i] = total - begin[i];
            }
            else
            {
                (begin[i], end[i]) = autoPad == "VALID" ? (0, 0) : (begin[i], end[i]);
                output[i] = full - begin[i] - end[i];
            }
        }

        return new(output, kernel, strides, dilations, begin, end, input);
    }

    private static long[] Ones(int count) => [.. Enumerable.Repeat(1L, count)];

    // A window that would start in the end padding is left out, as PyTorch and ONNX Runtime do.
    private static long OutputSize(long room, long stride, bool roundUp, long lastStart)
    {
        if (room < 0)
        {
            return 0;
        }

        long size = ((room + (roundUp ? stride - 1 : 0)) / stride) + 1;
        return roundUp && (size - 1) * stride >= lastStart ? size - 1 : size;
    }

    private static int[] AxisTable(long input, long kernel, long stride, long dilation, long begin, long end, long output)
    {
        int[] table = new int[output * kernel];
        for (int o = 0; o < output; o++)
        {
            for (int k = 0; k < kernel; k++)
            {
                long position = (o * stride) + (k * dilation) - begin;
                table[(o * kernel) + k] = position >= input + end ? Beyond : position < 0 || position >= input ? Padding : (int)position;
            }
        }

        return table;
    }

    private static int[][] Combine(int[][] axes, long[] input, long[] kernel, long[] output)
    {
        long[] strides = Indexing.Strides(input);
        int[][] table = new int[Indexing.Count(output)][];
        for (int o = 0; o < table.Length; o++)
        {
            long[] at = Indexing.Unravel(o, output);
            table[o] = new int[Indexing.Count(kernel)];
            for (int k = 0; k < table[o].Length; k++)
            {
                long[] under = Indexing.Unravel(k, kernel);
                long index = 0;
                for (int axis = 0; axis < axes.Length; axis++)
                {
                    int position = axes[axis][(at[axis] * kernel[axis]) + under[axis]];
                    index = index == Beyond || position == Beyond ? Beyond
                        : index == Padding || position == Padding ? Padding
                        : index + (position * strides[axis]);
                }

                table[o][k] = (int)index;
            }
        }

        return table;
    }
}
