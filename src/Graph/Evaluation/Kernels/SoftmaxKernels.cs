using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Softmax along an axis, and the losses built on its logarithm.</summary>
internal static class SoftmaxKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("Softmax", c => AlongAxis(c, Softmax));
        registry.Add("LogSoftmax", c => AlongAxis(c, LogSoftmax));
        registry.Add("Hardmax", c => AlongAxis(c, Hardmax));
        registry.Add("NegativeLogLikelihoodLoss", c => NegativeLogLikelihood(c, c.Input(0)));
        registry.AddMany("SoftmaxCrossEntropyLoss", SoftmaxCrossEntropyLoss);
    }

    private static double[] Softmax(double[] x) => Array.ConvertAll(LogSoftmax(x), Math.Exp);

    private static double[] LogSoftmax(double[] x)
    {
        double max = x.Aggregate(double.NegativeInfinity, Math.Max);
        double[] shifted = Array.ConvertAll(x, v => v - max);
        double logSum = ReductionKernels.LogSumExp(shifted);
        return Array.ConvertAll(shifted, v => v - logSum);
    }

    private static double[] Hardmax(double[] x)
    {
        int best = Array.IndexOf(x, x.DefaultIfEmpty().Max());
        return [.. x.Select((_, i) => i == best ? 1.0 : 0.0)];
    }

    // Below opset 13 the axes from 'axis' on are taken together.
    private static ReferenceTensor AlongAxis(KernelContext c, Func<double[], double[]> function)
    {
        ReferenceTensor x = c.Input(0);
        if (c.Opset >= 13)
        {
            return new Lanes(x, c.Axis(c.GetInt("axis", -1), x.Rank)).Transform(x, function);
        }

        int first = c.Axis(c.GetInt("axis", 1), x.Rank);
        return new Lanes(x, [.. Enumerable.Range(first, x.Rank - first)]).Transform(x, function);
    }

    private static ReferenceTensor[] SoftmaxCrossEntropyLoss(KernelContext c)
    {
        ReferenceTensor scores = c.Input(0);
        ReferenceTensor logProbabilities = new Lanes(scores, 1).Transform(scores, LogSoftmax);
        return [NegativeLogLikelihood(c, logProbabilities), logProbabilities];
    }

    /// <summary>
    /// <c>-w[t] x[n, t, d...]</c> for x [N, C, d...] and targets t [N, d...]; 0 where t is the ignored index. The
    /// mean divides by the sum of the weights that counted.
    /// </summary>
    private static ReferenceTensor NegativeLogLikelihood(KernelContext c, ReferenceTensor x)
    {
        ReferenceTensor target = c.Input(1);
        ReferenceTensor? weight = c.InputOrNull(2);
        long? ignored = c.Attribute("ignore_index")?.AsInt();
        if (x.Rank < 2 || !target.Dims.SequenceEqual(x.Dims.RemoveAt(1)))
        {
            throw c.Error($"the targets {target} do not fit the scores {x}; [N, C, d...] goes with [N, d...]");
        }

        Lanes classes = new(x, 1);
        double[] losses = new double[target.Count];
        double totalWeight = 0;
        for (int i = 0; i < losses.Length; i++)
        {
            long label = target.Integers[i];
            if (label != ignored)
            {
                int at = (int)(label >= 0 && label < x.Dims[1] ? label : throw c.Error($"target {label} lies outside the {x.Dims[1]} classes"));
                double w = weight?.Floats[at] ?? 1;
                losses[i] = -w * x.Floats[classes.Groups[i] + classes.Members[at]];
                totalWeight += w;
            }
        }

        double sum = losses.Aggregate(0.0, (total, loss) => total + loss);
        return c.GetString("reduction", "mean") switch
        {
            "none" => ReferenceTensor.OfFloats(x.ElementType, target.Dims, losses),
            "sum" => ReferenceTensor.OfFloats(x.ElementType, [], sum),
            "mean" => ReferenceTensor.OfFloats(x.ElementType, [], sum / totalWeight),
            string other => throw c.Error($"reduction is '{other}'; it must be none, sum or mean"),
        };
    }
}
