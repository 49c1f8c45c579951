namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Convolution and its transpose over any number of spatial axes, with groups, strides, dilations and padding.</summary>
internal static class ConvolutionKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("Conv", Conv);
        registry.Add("ConvTranspose", ConvTranspose);
    }

    // y[n, m, o] = b[m] + sum over c, k of x[n, c, window(o, k)] w[m, c, k]; c runs over the channels of m's group.
    private static ReferenceTensor Conv(KernelContext c)
    {
        (ReferenceTensor x, ReferenceTensor w) = (c.Input(0), c.Input(1));
        int groups = (int)c.GetInt("group", 1);
        RequireWeights(c, x, w, x.Dims.Length == w.Dims.Length && w.Dims[1] * groups == x.Dims[1] && w.Dims[0] % groups == 0);
        (int batch, int outputs, int channels) = ((int)x.Dims[0], (int)w.Dims[0], (int)w.Dims[1]);
        SlidingWindow window = SlidingWindow.Forward(c, [.. x.Dims[2..]], [.. w.Dims[2..]]);
        (int area, int kernel, int positions) = (Indexing.Count(x.Dims[2..]), Indexing.Count(w.Dims[2..]), window.Table.Length);
        double[] y = new double[batch * outputs * positions];
        for (int n = 0; n < batch; n++)
        {
            for (int m = 0; m < outputs; m++)
            {
                int firstChannel = m / (outputs / groups) * channels;
                for (int o = 0; o < positions; o++)
                {
                    double sum = c.InputOrNull(2)?.Floats[m] ?? 0;
                    for (int channel = 0; channel < channels; channel++)
                    {
                        int image = ((n * (int)x.Dims[1]) + firstChannel + channel) * area;
                        int weights = ((m * channels) + channel) * kernel;
                        for (int k = 0; k < kernel; k++)
                        {
                            int at = window.Table[o][k];
                            sum += at >= 0 ? x.Floats[image + at] * w.Floats[weights + k] : 0;
                        }
                    }

                    y[(((n * outputs) + m) * positions) + o] = sum;
                }
            }
        }

        return ReferenceTensor.OfFloats(x.ElementType, [batch, outputs, .. window.Output], y);
    }

    // y[n, m, window(i, k)] += x[n, c, i] w[c, m, k], the gradient of a convolution with respect to its input.
    private static ReferenceTensor ConvTranspose(KernelContext c)
    {
        (ReferenceTensor x, ReferenceTensor w) = (c.Input(0), c.Input(1));
        int groups = (int)c.GetInt("group", 1);
        RequireWeights(c, x, w, x.Dims.Length == w.Dims.Length && w.Dims[0] == x.Dims[1] && w.Dims[0] % groups == 0);
        (int batch, int channels, int perGroup) = ((int)x.Dims[0], (int)x.Dims[1], (int)w.Dims[1]);
        int outputs = perGroup * groups;
        SlidingWindow window = SlidingWindow.Transposed(c, [.. x.Dims[2..]], [.. w.Dims[2..]], out long[] spatial);
        (int area, int kernel, int positions) = (Indexing.Count(spatial), Indexing.Count(w.Dims[2..]), window.Table.Length);
        double[] y = new double[batch * outputs * area];
        for (int i = 0; i < y.Length; i++)
        {
            y[i] = c.InputOrNull(2)?.Floats[i / area % outputs] ?? 0;
        }

        for (int n = 0; n < batch; n++)
        {
            for (int channel = 0; channel < channels; channel++)
            {
                int firstOutput = channel / (channels / groups) * perGroup;
                for (int m = 0; m < perGroup; m++)
                {
                    int image = ((n * outputs) + firstOutput + m) * area;
                    int weights = ((channel * perGroup) + m) * kernel;
                    for (int o = 0; o < positions; o++)
                    {
                        double value = x.Floats[(((n * channels) + channel) * positions) + o];
                        for (int k = 0; k < kernel; k++)
                        {
                            int at = window.Table[o][k];
                            if (at >= 0)
                            {
                                y[image + at] += value * w.Floats[weights + k];
                            }
                        }
                    }
                }
            }
        }

        return ReferenceTensor.OfFloats(x.ElementType, [batch, outputs, .. spatial], y);
    }

    private static void RequireWeights(KernelContext c, ReferenceTensor x, ReferenceTensor w, bool fit)
    {
        Elementwise.RequireSameType(c, x, w);
        if (!fit)
        {
            throw c.Error($"the weights {w} do not fit the input {x} with group = {c.GetInt("group", 1)}");
        }
    }
}
