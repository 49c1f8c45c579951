using System.IO.Hashing;
using System.Text;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>
/// Random operators. The generator is seeded by the node's name and seed attribute, so that runs over perturbed
/// inputs see the same numbers; they are not the numbers of any runtime.
/// </summary>
internal static class RandomKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.AddMany("Dropout", Dropout);
        registry.Add("RandomUniform", c => Uniform(c, c.GetInts("shape") ?? throw c.Error("the attribute shape is missing"), DataType.Float));
        registry.Add("RandomUniformLike", c => Uniform(c, c.Input(0).Dims, c.Input(0).ElementType));
        registry.Add("RandomNormal", c => Normal(c, c.GetInts("shape") ?? throw c.Error("the attribute shape is missing"), DataType.Float));
        registry.Add("RandomNormalLike", c => Normal(c, c.Input(0).Dims, c.Input(0).ElementType));
        registry.Add("Bernoulli", Bernoulli);
    }

    // Inputs: data, ratio (0.5), training mode (false). Kept elements are scaled by 1 / (1 - ratio).
    private static ReferenceTensor[] Dropout(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        double ratio = c.InputOrNull(1)?.ToScalar() ?? c.GetFloat("ratio", 0.5f);
        if (c.InputOrNull(2) is not { } training || training.ToInteger() == 0 || ratio == 0)
        {
            return [x, ReferenceTensor.Filled(DataType.Bool, x.Dims, 1)];
        }

        Random random = Generator(c);
        bool[] kept = [.. Enumerable.Range(0, x.Count).Select(_ => random.NextDouble() >= ratio)];
        double[] result = [.. x.Floats.Select((v, i) => kept[i] ? v / (1 - ratio) : 0)];
        return [x.WithFloats(result), ReferenceTensor.OfBools(x.Dims, kept)];
    }

    private static ReferenceTensor Uniform(KernelContext c, IReadOnlyList<long> dims, DataType type)
    {
        (double low, double high) = (c.GetFloat("low", 0), c.GetFloat("high", 1));
        return Draw(c, dims, type, random => low + ((high - low) * random.NextDouble()));
    }

    // Box-Muller; 1 - u keeps the logarithm finite.
    private static ReferenceTensor Normal(KernelContext c, IReadOnlyList<long> dims, DataType type)
    {
        (double mean, double deviation) = (c.GetFloat("mean", 0), c.GetFloat("scale", 1));
        return Draw(c, dims, type, random =>
            mean + (deviation * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())));
    }

    private static ReferenceTensor Draw(KernelContext c, IReadOnlyList<long> dims, DataType type, Func<Random, double> draw)
    {
        Random random = Generator(c);
        DataType declared = (DataType)c.GetInt("dtype", (long)type);
        return ReferenceTensor.OfFloats(declared, dims, [.. Enumerable.Range(0, Indexing.Count(dims)).Select(_ => draw(random))]);
    }

    private static ReferenceTensor Bernoulli(KernelContext c)
    {
        Random random = Generator(c);
        ReferenceTensor probability = c.Input(0);
        DataType type = (DataType)c.GetInt("dtype", (long)probability.ElementType);
        int[] map = [.. probability.Floats.Select(p => random.NextDouble() < p ? 1 : 0)];
        return ReferenceTensor.Chain(ReferenceTensor.Filled(type, [], 0), ReferenceTensor.Filled(type, [], 1)).Take(probability.Dims, map);
    }

    private static Random Generator(KernelContext c) =>
        new((int)XxHash32.HashToUInt32(Encoding.UTF8.GetBytes(FormattableString.Invariant($"{c.Node.Name}/{c.GetFloat("seed", 0)}"))));
}
