using System.Numerics.Tensors;

namespace OrtQLoRA.Graph.Adapters.Combining;

/// <summary>Combination of tensors of one shape, as PEFT's <c>merge_utils</c> does it.</summary>
internal sealed class TensorCombination
{
    private readonly CombinationOptions _options;

    public TensorCombination(CombinationOptions options)
    {
        _options = options;
    }

    /// <summary>Combines tensors; those handed in are not changed.</summary>
    /// <param name="key">Key of the tensor, by which masks are found.</param>
    /// <param name="adapters">Indices of the adapters that the tensors belong to.</param>
    /// <param name="tensors">One a adapter.</param>
    /// <param name="weights">One an adapter.</param>
    public float[] Combine(string key, IReadOnlyList<int> adapters, IReadOnlyList<float[]> tensors, IReadOnlyList<double> weights)
    {
        switch (_options.Type)
        {
            case CombinationType.Ties or CombinationType.TiesSvd:
                return Elect([.. tensors.Select(Largest)], weights);
            case CombinationType.DareLinear or CombinationType.DareLinearSvd:
                return Sum([.. tensors.Select((t, i) => Dropped(key, adapters[i], t))], weights);
            case CombinationType.DareTies or CombinationType.DareTiesSvd:
                return Elect([.. tensors.Select((t, i) => Dropped(key, adapters[i], t))], weights);
            case CombinationType.MagnitudePrune or CombinationType.MagnitudePruneSvd:
                return Sum([.. tensors.Select(Largest)], weights);
            default:
                return Sum(tensors, weights);
        }
    }

    private static float[] Sum(IReadOnlyList<float[]> tensors, IReadOnlyList<double> weights)
    {
        float[] sum = new float[tensors[0].Length];
        for (int i = 0; i < tensors.Count; i++)
        {
            TensorPrimitives.MultiplyAdd(tensors[i], (float)weights[i], sum, sum);
        }

        return sum;
    }

    // The int(density * n) largest magnitudes stay.
    private float[] Largest(float[] tensor)
    {
        int kept = (int)(_options.Density!.Value * tensor.Length);
        float[] result = new float[tensor.Length];
        foreach (int index in Enumerable.Range(0, tensor.Length).OrderByDescending(i => Math.Abs(tensor[i])).Take(kept))
        {
            result[index] = tensor[index];
        }

        return result;
    }

    // Each number stays with the probability density, rescaled so that the mean stays.
    private float[] Dropped(string key, int adapter, float[] tensor)
    {
        float density = (float)_options.Density!.Value;
        float[] mask = Mask(key, adapter, tensor.Length, density);
        float[] result = new float[tensor.Length];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = tensor[i] * mask[i] / density;
        }

        return result;
    }

    private float[] Mask(string key, int adapter, int length, float density)
    {
        if (_options.Masks is null)
        {
            ReproducibleRandom random = new(unchecked((int)_options.Seed), $"{key}.{adapter}");
            float[] drawn = new float[length];
            for (int i = 0; i < length; i++)
            {
                drawn[i] = random.NextUniform() < density ? 1 : 0;
            }

            return drawn;
        }

        string name = $"{key}.{(_options.Names is { } names ? names[adapter] : adapter)}";
        return _options.Masks.TryGetValue(name, out IR.ITensor? mask) && IR.TensorExtensions.ElementCount(mask) == length
            ? [.. IR.TensorExtensions.ToInt64s(mask).Select(v => (float)v)]
            : throw new ConfigurationException($"The masks lack '{name}' with {length} entries.");
    }

    // Signs are elected from the tensors without their weights, ties going to plus; what agrees is averaged with them.
    private float[] Elect(IReadOnlyList<float[]> tensors, IReadOnlyList<double> weights)
    {
        float[] result = new float[tensors[0].Length];
        for (int i = 0; i < result.Length; i++)
        {
            float votes = 0;
            foreach (float[] tensor in tensors)
            {
                votes += _options.ElectsByFrequency ? MathF.Sign(tensor[i]) : tensor[i];
            }

            int elected = votes >= 0 ? 1 : -1;
            double sum = 0;
            int agreeing = 0;
            for (int t = 0; t < tensors.Count; t++)
            {
                if (MathF.Sign(tensors[t][i]) == elected)
                {
                    sum += tensors[t][i] * (float)weights[t];
                    agreeing++;
                }
            }

            result[i] = (float)(sum / Math.Max(1, agreeing));
        }

        return result;
    }
}
