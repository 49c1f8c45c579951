using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Normalization over axes: <c>(x - mean) / sqrt(variance + epsilon) * scale + bias</c> and its kin.</summary>
/// <remarks>RMSNormalization gives the type of its scale; batch normalization may keep parameters in a wider type than x.</remarks>
internal static class NormalizationKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.AddMany("LayerNormalization", LayerNormalization);
        registry.AddMany("RMSNormalization", RmsNormalization);
        registry.AddMany("SimplifiedLayerNormalization", RmsNormalization);
        registry.Add("InstanceNormalization", InstanceNormalization);
        registry.Add("GroupNormalization", GroupNormalization);
        registry.AddMany("BatchNormalization", BatchNormalization);
        registry.AddMany("SkipLayerNormalization", c => SkipNormalization(c, centered: true), "com.microsoft");
        registry.AddMany("SkipSimplifiedLayerNormalization", c => SkipNormalization(c, centered: false), "com.microsoft");
    }

    /// <summary>Moments of each group: mean (0 if not centered) and <c>1 / sqrt(variance + epsilon)</c>.</summary>
    private sealed record Moments(double[] Mean, double[] InverseDeviation, ReferenceTensor Normalized);

    private static Moments Normalize(ReferenceTensor x, double epsilon, bool centered, params int[] axes)
    {
        Lanes lanes = new(x, axes);
        double[] means = new double[lanes.Groups.Length];
        double[] inverses = new double[lanes.Groups.Length];
        double[] result = new double[x.Count];
        for (int g = 0; g < means.Length; g++)
        {
            double[] members = lanes.Read(x.Floats, g);
            means[g] = centered ? members.Sum() / members.Length : 0;
            inverses[g] = 1 / Math.Sqrt((members.Sum(v => (v - means[g]) * (v - means[g])) / members.Length) + epsilon);
            for (int m = 0; m < members.Length; m++)
            {
                result[lanes.Groups[g] + lanes.Members[m]] = (members[m] - means[g]) * inverses[g];
            }
        }

        return new(means, inverses, x.WithFloats(result));
    }

    private static ReferenceTensor[] LayerNormalization(KernelContext c)
    {
        (Moments moments, ReferenceTensor mean, ReferenceTensor inverse) = NormalizeFromAxis(c, c.Input(0), centered: true);
        return [Affine(c, moments.Normalized, c.Input(1), c.InputOrNull(2)), mean, inverse];
    }

    private static ReferenceTensor[] RmsNormalization(KernelContext c)
    {
        (Moments moments, _, ReferenceTensor inverse) = NormalizeFromAxis(c, c.Input(0), centered: false);
        return [Affine(c, moments.Normalized.As(c.Input(1).ElementType), c.Input(1), null), inverse];
    }

    // Inputs: x, skip, gamma, then beta (layer norm only) and the linear layer's bias; the fourth output is the sum.
    private static ReferenceTensor[] SkipNormalization(KernelContext c, bool centered)
    {
        ReferenceTensor sum = Add(c, c.Input(0), c.Input(1));
        sum = c.InputOrNull(centered ? 4 : 3) is { } bias ? Add(c, sum, bias) : sum;
        (Moments moments, ReferenceTensor mean, ReferenceTensor inverse) = NormalizeFromAxis(c, sum, centered);
        return [Affine(c, moments.Normalized, c.Input(2), centered ? c.InputOrNull(3) : null), mean, inverse, sum];
    }

    // All axes from 'axis' on; the moments keep them with size 1, in the type of stash_type.
    private static (Moments Moments, ReferenceTensor Mean, ReferenceTensor Inverse) NormalizeFromAxis(KernelContext c, ReferenceTensor x, bool centered)
    {
        int first = c.Axis(c.GetInt("axis", -1), x.Rank);
        Moments moments = Normalize(x, c.GetFloat("epsilon", 1e-5f), centered, [.. Enumerable.Range(first, x.Rank - first)]);
        DataType type = (DataType)c.GetInt("stash_type", (long)DataType.Float);
        long[] dims = [.. x.Dims.Select((d, i) => i < first ? d : 1)];
        return (moments, ReferenceTensor.OfFloats(type, dims, moments.Mean), ReferenceTensor.OfFloats(type, dims, moments.InverseDeviation));
    }

    // scale and bias per channel: [C] beside x [N, C, ...].
    private static ReferenceTensor InstanceNormalization(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        int[] spatial = [.. Enumerable.Range(2, x.Rank - 2)];
        return Affine(c, Normalize(x, c.GetFloat("epsilon", 1e-5f), true, spatial).Normalized, PerChannel(x, c.Input(1)), PerChannel(x, c.Input(2)));
    }

    // scale and bias per group below opset 21, per channel from it on.
    private static ReferenceTensor GroupNormalization(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        long groups = c.GetInt("num_groups", 1);
        long channels = x.Dims[1];
        if (groups <= 0 || channels % groups != 0)
        {
            throw c.Error($"{channels} channels do not divide into num_groups = {groups}");
        }

        long size = channels / groups;
        ReferenceTensor grouped = x.Reshaped([x.Dims[0], groups, size, .. x.Dims[2..]]);
        ReferenceTensor normalized = Normalize(grouped, c.GetFloat("epsilon", 1e-5f), true, [.. Enumerable.Range(2, grouped.Rank - 2)])
            .Normalized.Reshaped(x.Dims);
        return Affine(c, normalized, PerChannel(x, Spread(c.Input(1))), PerChannel(x, Spread(c.Input(2))));

        ReferenceTensor Spread(ReferenceTensor parameter) => parameter.Dims[0] == channels
            ? parameter
            : parameter.Take([channels], [.. Enumerable.Range(0, (int)channels).Select(i => (int)(i / size))]);
    }

    // Inputs: x, scale, bias, mean, variance. In training mode the batch's moments are used and the running ones updated.
    private static ReferenceTensor[] BatchNormalization(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        double epsilon = c.GetFloat("epsilon", 1e-5f);
        (ReferenceTensor scale, ReferenceTensor bias) = (PerChannel(x, c.Input(1)), PerChannel(x, c.Input(2)));
        (ReferenceTensor mean, ReferenceTensor variance) = (c.Input(3), c.Input(4));
        if (c.GetInt("training_mode", 0) == 0)
        {
            ReferenceTensor centered = Elementwise.Zip(c, x, PerChannel(x, mean), (a, b) => a - b, (_, a, _) => a);
            ReferenceTensor inverse = Elementwise.Map(PerChannel(x, variance), v => 1 / Math.Sqrt(v + epsilon));
            return [Affine(c, Multiply(c, centered, inverse), scale, bias)];
        }

        Moments moments = Normalize(x, epsilon, true, [.. Enumerable.Range(0, x.Rank).Where(i => i != 1)]);
        double momentum = c.GetFloat("momentum", 0.9f);
        double[] newMean = [.. mean.Floats.Zip(moments.Mean, (old, batch) => (old * momentum) + (batch * (1 - momentum)))];
        double[] newVariance = [.. variance.Floats.Zip(
            moments.InverseDeviation, (old, inverse) => (old * momentum) + (((1 / (inverse * inverse)) - epsilon) * (1 - momentum)))];
        return [Affine(c, moments.Normalized, scale, bias), mean.WithFloats(newMean), variance.WithFloats(newVariance)];
    }

    private static ReferenceTensor PerChannel(ReferenceTensor x, ReferenceTensor parameter) =>
        parameter.Reshaped([parameter.Count, .. Enumerable.Repeat(1L, x.Rank - 2)]).As(x.ElementType);

    private static ReferenceTensor Affine(KernelContext c, ReferenceTensor x, ReferenceTensor scale, ReferenceTensor? bias)
    {
        ReferenceTensor scaled = Multiply(c, x, scale);
        return bias is null ? scaled : Add(c, scaled, bias);
    }

    private static ReferenceTensor Multiply(KernelContext c, ReferenceTensor a, ReferenceTensor b) => Elementwise.Zip(c, a, b, (x, y) => x * y, (_, x, y) => x * y);

    private static ReferenceTensor Add(KernelContext c, ReferenceTensor a, ReferenceTensor b) => Elementwise.Zip(c, a, b, (x, y) => x + y, (_, x, y) => x + y);
}
