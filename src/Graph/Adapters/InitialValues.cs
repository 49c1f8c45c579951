using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>Fits the tensors of a file to the parameters of an adapter; every mismatch is reported at once.</summary>
internal sealed class InitialValues
{
    private const int Shown = 500;

    private readonly IReadOnlyDictionary<string, ITensor> _tensors;

    /// <summary>Checks the fit.</summary>
    /// <exception cref="ConfigurationException">Tensors are missing, left over, or of another shape.</exception>
    public InitialValues(AdapterWeights weights, AdapterPlan plan)
    {
        _tensors = weights.KeysFor(plan);
        List<string> faults = [];
        HashSet<string> known = new(StringComparer.Ordinal);
        IEnumerable<(string Key, IReadOnlyList<long> Dims)> wanted = plan.Tensors
            .Where(t => t.IsWritten || _tensors.ContainsKey(t.FileKey)).Select(t => (t.FileKey, t.Dims))
            .Concat(plan.TrainedWeights.Select(w => (w.FileKey, w.Parameter.TorchDims)));
        foreach ((string key, IReadOnlyList<long> dims) in wanted)
        {
            known.Add(key);
            if (!_tensors.TryGetValue(key, out ITensor? tensor))
            {
                faults.Add($"'{key}' [{string.Join(", ", dims)}] is missing");
            }
            else if (!tensor.Dims.AsSpan().SequenceEqual(dims.ToArray()))
            {
                faults.Add($"'{key}' has shape [{string.Join(", ", tensor.Dims)}], expected is [{string.Join(", ", dims)}]");
            }
            else if (!tensor.ElementType.IsFloatingPoint())
            {
                faults.Add($"'{key}' holds {tensor.ElementType.OnnxName()}, expected are floats");
            }
        }

        known.UnionWith(plan.SavedWeights.Select(s => s.FileKey));
        known.UnionWith(plan.Duplicates.Keys.Select(PeftKeys.Normalise));
        faults.AddRange(_tensors.Keys.Where(k => !known.Contains(k)).Order(StringComparer.Ordinal).Select(k => $"'{k}' belongs to no parameter of this adapter"));
        if (faults.Count > 0)
        {
            throw new ConfigurationException(
                $"The weights in {weights.Source} do not fit the adapter; check rank, target modules, biases and modules to save, and that model and adapter belong together:\n"
                + string.Join("\n", faults.Take(Shown).Select(f => "  - " + f))
                + (faults.Count > Shown ? $"\n  - and {faults.Count - Shown} more" : ""));
        }
    }

    /// <summary>The tensors under the keys that the plan expects.</summary>
    public IReadOnlyDictionary<string, ITensor> Tensors => _tensors;

    /// <summary>A tensor of the file, or null for one that files may leave out.</summary>
    public ITensor? TryOf(AdapterTensor tensor) => _tensors.TryGetValue(tensor.FileKey, out ITensor? found) ? FloatTensor.Of(found) : null;

    public ITensor Of(TrainedWeight weight)
    {
        ITensor tensor = _tensors[weight.FileKey];
        return FloatTensor.Of(weight.Parameter.IsTransposed ? new TransposedTensor(tensor) : tensor);
    }
}
