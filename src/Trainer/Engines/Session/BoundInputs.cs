using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>The caller's tensors, pinned and bound for one run; nothing is copied.</summary>
internal sealed class BoundInputs : IDisposable
{
    private readonly PinnedValues _pinned;
    private readonly IReadOnlyList<string> _names;

    internal BoundInputs(OrtIoBinding binding, IReadOnlyList<string> names, IReadOnlyDictionary<string, DenseTensor> inputs)
    {
        string[] missing = [.. names.Where(n => !inputs.ContainsKey(n))];
        if (missing.Length > 0)
        {
            throw new EngineException(
                $"The batch lacks {string.Join(", ", missing.Select(n => $"'{n}'"))}; it must bring {string.Join(", ", names)}.", isUserError: true);
        }

        _names = names;
        _pinned = new PinnedValues(names.Select(n => inputs[n]));
        try
        {
            foreach ((string name, OrtValue value) in names.Zip(_pinned.Values))
            {
                binding.BindInput(name, value);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The value that an input is bound to.</summary>
    internal OrtValue this[string name] => _pinned.Values[_names.ToList().IndexOf(name)];

    public void Dispose() => _pinned.Dispose();
}
