namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Resampling, axis by axis.</summary>
internal static class ResizeKernels
{
    public static void Register(KernelRegistry registry) => registry.Add("Resize", Resize);

    private static ReferenceTensor Resize(KernelContext c)
    {
        if (c.GetInt("antialias", 0) != 0 || c.GetString("keep_aspect_ratio_policy", "stretch") != "stretch"
            || c.GetString("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize")
        {
            throw c.Unsupported("it smooths (antialias), chooses its sizes itself or cuts out a region");
        }

        ReferenceTensor x = c.Input(0);
        long[] axes = c.GetInts("axes") ?? [.. Enumerable.Range(0, x.Rank).Select(i => (long)i)];
        for (int i = 0; i < axes.Length; i++)
        {
            int axis = c.Axis(axes[i], x.Rank);
            long size = x.Dims[axis];
            double scale = c.InputOrNull(3) is null ? c.Input(2).Floats[i] : (double)c.Input(3).Integers[i] / size;
            long made = c.InputOrNull(3) is { } sizes ? sizes.Integers[i] : (long)Math.Floor(size * scale);
            if (scale != 1)
            {
                x = Along(x, axis, made, o => Weights(c, o, size, made, scale));
            }
        }

        return x;
    }

    private static ReferenceTensor Along(ReferenceTensor x, int axis, long made, Func<long, IReadOnlyList<(int Place, double Weight)>> weights)
    {
        int size = (int)x.Dims[axis];
        int inner = Indexing.Count(x.Dims[(axis + 1)..]);
        int outer = Indexing.Count(x.Dims[..axis]);
        double[] y = new double[outer * (int)made * inner];
        for (int o = 0; o < made; o++)
        {
            IReadOnlyList<(int Place, double Weight)> read = weights(o);
            for (int row = 0; row < outer; row++)
            {
                for (int i = 0; i < inner; i++)
                {
                    y[((((row * (int)made) + o) * inner) + i)] = read.Sum(r => r.Weight * x.Floats[(((row * size) + r.Place) * inner) + i]);
                }
            }
        }

        return ReferenceTensor.OfFloats(x.ElementType, [.. x.Dims[..axis], made, .. x.Dims[(axis + 1)..]], y);
    }

    // Places beyond the ends read the first or last element.
    private static IReadOnlyList<(int Place, double Weight)> Weights(KernelContext c, long o, long size, long made, double scale)
    {
        double at = Coordinate(c, o, size, made, scale);
        int Inside(double place) => (int)Math.Clamp(place, 0, size - 1);
        double floor = Math.Floor(at);
        double part = at - floor;
        switch (c.GetString("mode", "nearest"))
        {
            case "nearest":
                return [(Inside(Rounded(c, at)), 1)];
            case "linear":
                return [(Inside(floor), 1 - part), (Inside(floor + 1), part)];
            default:
                double a = c.GetFloat("cubic_coeff_a", -0.75);
                (double Place, double Weight)[] all = [.. Enumerable.Range(-1, 4).Select(i => (floor + i, Cubic(a, Math.Abs(part - i))))];
                if (c.GetInt("exclude_outside", 0) != 0)
                {
                    all = [.. all.Where(p => p.Place >= 0 && p.Place < size)];
                    double sum = all.Sum(p => p.Weight);
                    all = [.. all.Select(p => (p.Place, p.Weight / sum))];
                }

                return [.. all.Select(p => (Inside(p.Place), p.Weight))];
        }
    }

    private static double Coordinate(KernelContext c, long o, long size, long made, double scale) => c.GetString("coordinate_transformation_mode", "half_pixel") switch
    {
        "half_pixel" => ((o + 0.5) / scale) - 0.5,
        "half_pixel_symmetric" => (size / 2.0 * (1 - (made / (scale * size)))) + ((o + 0.5) / scale) - 0.5,
        "pytorch_half_pixel" => made > 1 ? ((o + 0.5) / scale) - 0.5 : 0,
        "align_corners" => made == 1 ? 0 : o * (size - 1.0) / (made - 1),
        "asymmetric" => o / scale,
        string other => throw c.Unsupported($"coordinate_transformation_mode is '{other}'"),
    };

    private static double Rounded(KernelContext c, double at) => c.GetString("nearest_mode", "round_prefer_floor") switch
    {
        "round_prefer_floor" => Math.Ceiling(at - 0.5),
        "round_prefer_ceil" => Math.Floor(at + 0.5),
        "floor" => Math.Floor(at),
        _ => Math.Ceiling(at),
    };

    // Keys' kernel.
    private static double Cubic(double a, double x) => x <= 1
        ? ((((a + 2) * x) - (a + 3)) * x * x) + 1
        : ((((a * x) - (5 * a)) * x) + (8 * a)) * x - (4 * a);
}
