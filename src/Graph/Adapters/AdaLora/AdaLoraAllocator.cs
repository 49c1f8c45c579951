using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters.AdaLora;

/// <summary>
/// AdaLoRA's allocation of ranks (Zhang et al. 2023, section 3; PEFT's <c>RankAllocator</c>): after each step the importance of
/// every number is averaged, and the singular values of the triplets that matter least over all layers are set to zero, as many
/// as the schedule says. Adam's moments are left alone, so that a masked value may come back until the mask is final.
/// </summary>
internal sealed class AdaLoraAllocator : IAdapterTrainingHook
{
    private const string Importance = "importance/";
    private const string Uncertainty = "uncertainty/";
    private const string KeptPrefix = "kept/";

    private readonly AdaLoraConfig _config;
    private readonly IReadOnlyList<AdaLoraLayer> _layers;
    private readonly Dictionary<string, float[]> _importance = new(StringComparer.Ordinal);
    private readonly Dictionary<string, float[]> _uncertainty = new(StringComparer.Ordinal);

    public AdaLoraAllocator(AdaLoraConfig config, IReadOnlyList<AdaLoraLayer> layers)
    {
        _config = config;
        _layers = layers;
    }

    /// <summary>Which triplets the last allocation left, by the name of E; null before the first.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<bool>>? Kept { get; private set; }

    public void BeforeStep(IAdapterParameters parameters)
    {
    }

    public void AfterStep(long step, long totalSteps, IAdapterParameters parameters)
    {
        _config.TotalSteps ??= checked((int)totalSteps);
        if (step == 1)
        {
            _config.Validate();
        }

        // PEFT counts from 0.
        long index = step - 1;
        long last = _config.TotalSteps.Value - _config.FinalSteps;
        if (index > last)
        {
            Mask(parameters);
            return;
        }

        if (index < last)
        {
            Observe(parameters);
        }

        (int budget, bool isDue) = Budget(index);
        if (isDue || index == last)
        {
            Allocate(budget);
            Mask(parameters);
        }

        if (index == last)
        {
            _importance.Clear();
            _uncertainty.Clear();
        }
    }

    public IReadOnlyDictionary<string, ITensor> SaveState()
    {
        Dictionary<string, ITensor> state = new(StringComparer.Ordinal);
        foreach ((string name, float[] values) in _importance)
        {
            state[Importance + name] = DenseTensor.Vector(values);
            state[Uncertainty + name] = DenseTensor.Vector(_uncertainty[name]);
        }

        foreach ((string name, IReadOnlyList<bool> kept) in Kept ?? new Dictionary<string, IReadOnlyList<bool>>())
        {
            state[KeptPrefix + name] = DenseTensor.Vector(kept.Select(k => k ? 1f : 0f).ToArray());
        }

        return state;
    }

    public void LoadState(IReadOnlyDictionary<string, ITensor> state)
    {
        Dictionary<string, long> sizes = _layers.SelectMany(l => l.Tensors).ToDictionary(t => t.Name, t => t.ElementCount);
        foreach ((string key, ITensor tensor) in state)
        {
            string name = key[(key.IndexOf('/', StringComparison.Ordinal) + 1)..];
            bool isKept = key.StartsWith(KeptPrefix, StringComparison.Ordinal);
            if (isKept ? _layers.FirstOrDefault(l => l.PatternKey == name)?.Rank != tensor.ElementCount() : sizes.GetValueOrDefault(name, -1) != tensor.ElementCount())
            {
                throw new ModelFormatException($"The saved state of AdaLoRA's allocation holds '{key}' with {tensor.ElementCount()} numbers, which belongs to another adapter.");
            }
        }

        _importance.Clear();
        _uncertainty.Clear();
        Dictionary<string, IReadOnlyList<bool>> kept = new(StringComparer.Ordinal);
        foreach ((string key, ITensor tensor) in state)
        {
            string name = key[(key.IndexOf('/', StringComparison.Ordinal) + 1)..];
            if (key.StartsWith(KeptPrefix, StringComparison.Ordinal))
            {
                kept[name] = [.. tensor.ToFloats().Select(v => v != 0)];
            }
            else
            {
                (key.StartsWith(Importance, StringComparison.Ordinal) ? _importance : _uncertainty)[name] = [.. tensor.ToFloats()];
            }
        }

        Kept = kept.Count > 0 ? kept : null;
    }

    // Importance |p g| of the updated parameter and the step's gradient, averaged; uncertainty its distance from the new average.
    private void Observe(IAdapterParameters parameters)
    {
        foreach (AdapterTensor tensor in _layers.SelectMany(l => l.Tensors))
        {
            float[] values = parameters.Value(tensor.Name).ToFloats();
            float[] gradient = parameters.Gradient(tensor.Name).ToFloats();
            float[] importance = Average(_importance, tensor.Name, values.Length);
            float[] uncertainty = Average(_uncertainty, tensor.Name, values.Length);
            for (int i = 0; i < values.Length; i++)
            {
                float now = Math.Abs(values[i] * gradient[i]);
                importance[i] = (float)((_config.Beta1 * importance[i]) + ((1 - _config.Beta1) * now));
                uncertainty[i] = (float)((_config.Beta2 * uncertainty[i]) + ((1 - _config.Beta2) * Math.Abs(now - importance[i])));
            }
        }
    }

    private (int Budget, bool IsDue) Budget(long step)
    {
        int initial = _layers.Sum(l => l.Rank);
        int target = _config.TargetRank * _layers.Count;
        if (step <= _config.InitialSteps)
        {
            return (initial, false);
        }

        long falling = _config.TotalSteps!.Value - _config.FinalSteps - _config.InitialSteps;
        double left = 1 - ((step - _config.InitialSteps) / (double)falling);
        return ((int)(((initial - target) * Math.Pow(left, 3)) + target), step % _config.Interval == 0);
    }

    private void Allocate(int budget)
    {
        float[][] scores = [.. _layers.Select(Scores)];
        int pruned = scores.Sum(s => s.Length) - budget;
        float threshold = pruned > 0 ? scores.SelectMany(s => s).Order().ElementAt(pruned - 1) : float.NegativeInfinity;
        Kept = _layers.Zip(scores).ToDictionary(p => p.First.PatternKey, p => (IReadOnlyList<bool>)[.. p.Second.Select(s => s > threshold)], StringComparer.Ordinal);
    }

    // Of each triplet: E's score, the mean over A's row and the mean over B's column.
    private float[] Scores(AdaLoraLayer layer)
    {
        float[] e = Products(layer.E);
        float[] a = Products(layer.A);
        float[] b = Products(layer.B);
        int inputs = (int)layer.A.Dims[1];
        int outputs = (int)layer.B.Dims[0];
        float[] scores = new float[layer.Rank];
        for (int i = 0; i < scores.Length; i++)
        {
            double row = 0;
            for (int k = 0; k < inputs; k++)
            {
                row += a[(i * inputs) + k];
            }

            double column = 0;
            for (int k = 0; k < outputs; k++)
            {
                column += b[(k * layer.Rank) + i];
            }

            scores[i] = (float)(e[i] + (row / inputs) + (column / outputs));
        }

        return scores;
    }

    private float[] Products(AdapterTensor tensor)
    {
        float[] importance = Average(_importance, tensor.Name, (int)tensor.ElementCount);
        float[] uncertainty = Average(_uncertainty, tensor.Name, (int)tensor.ElementCount);
        return [.. importance.Zip(uncertainty, (i, u) => i * u)];
    }

    private static float[] Average(Dictionary<string, float[]> averages, string name, int length) =>
        averages.TryGetValue(name, out float[]? known) ? known : averages[name] = new float[length];

    private void Mask(IAdapterParameters parameters)
    {
        if (Kept is null)
        {
            return;
        }

        foreach (AdaLoraLayer layer in _layers)
        {
            DenseTensor e = parameters.Value(layer.E.Name);
            float[] values = [.. e.ToFloats()];
            IReadOnlyList<bool> kept = Kept[layer.PatternKey];
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = kept[i] ? values[i] : 0;
            }

            parameters.SetValue(layer.E.Name, DenseTensor.Of(e.Dims, values));
        }
    }
}
