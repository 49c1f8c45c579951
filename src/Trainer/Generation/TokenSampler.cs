using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Generation;

/// <summary>Chooses tokens from logits: the most likely one, or by chance among the likeliest (Holtzman et al. 2020).</summary>
public sealed class TokenSampler
{
    private readonly GenerationOptions _options;
    private readonly Random _random;

    /// <summary>Creates a sampler whose choices depend on the options' seed alone.</summary>
    /// <exception cref="ConfigurationException">An option is outside its range.</exception>
    public TokenSampler(GenerationOptions options)
    {
        options.Validate();
        _options = options;
        _random = new Random(options.Seed);
    }

    /// <summary>Chooses a token. Of equally likely ones the lowest id counts as the likelier.</summary>
    /// <param name="logits">One number a token; negative infinity rules a token out.</param>
    /// <exception cref="GenerationException">A logit is NaN or positive infinity, or all tokens are ruled out.</exception>
    public int Choose(ReadOnlySpan<float> logits)
    {
        int best = IndexOfMax(logits);
        if (_options.Temperature == 0 || _options.TopK == 1)
        {
            return best;
        }

        (int Id, double Weight)[] candidates = new (int, double)[logits.Length];
        for (int i = 0; i < logits.Length; i++)
        {
            candidates[i] = (i, Math.Exp((logits[i] - logits[best]) / _options.Temperature));
        }

        Array.Sort(candidates, (a, b) => a.Weight != b.Weight ? b.Weight.CompareTo(a.Weight) : a.Id.CompareTo(b.Id));
        int kept = _options.TopK > 0 ? Math.Min(_options.TopK, candidates.Length) : candidates.Length;
        double total = candidates.Take(kept).Sum(c => c.Weight);
        if (_options.TopP < 1)
        {
            double wanted = _options.TopP * total;
            total = 0;
            int nucleus = 0;
            while (nucleus < kept && total < wanted)
            {
                total += candidates[nucleus++].Weight;
            }

            kept = nucleus;
        }

        double point = _random.NextDouble() * total;
        for (int i = 0; i < kept; i++)
        {
            point -= candidates[i].Weight;
            if (point < 0)
            {
                return candidates[i].Id;
            }
        }

        // Rounding alone leads here: the point lay at the very end.
        return candidates[kept - 1].Id;
    }

    private static int IndexOfMax(ReadOnlySpan<float> logits)
    {
        int best = -1;
        for (int i = 0; i < logits.Length; i++)
        {
            if (float.IsNaN(logits[i]) || float.IsPositiveInfinity(logits[i]))
            {
                throw new GenerationException($"The model's logit of token {i} is {logits[i]}. Its weights are damaged or its training diverged; take an earlier adapter or lower the learning rate.");
            }

            if (!float.IsNegativeInfinity(logits[i]) && (best < 0 || logits[i] > logits[best]))
            {
                best = i;
            }
        }

        return best >= 0 ? best : throw new GenerationException($"The model rules out all {logits.Length} tokens: every logit is negative infinity.");
    }
}
