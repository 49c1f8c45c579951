using System.Globalization;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;

namespace OrtQLoRA.Trainer.Engines;

/// <summary>
/// Keeps an engine's state in a safetensors file: a parameter under its name, a state of the optimizer under
/// <c>&lt;parameter&gt;.&lt;state&gt;</c> (for example <c>.exp_avg</c>), counts and names of states in the metadata.
/// </summary>
public static class EngineStateFile
{
    private const string StepsKey = "ortqlora.steps";
    private const string PassesKey = "ortqlora.passes";
    private const string StatesKey = "ortqlora.optimizer_states";
    private const string AdapterPrefix = "ortqlora.adapter_state/";
    private const string LossScaleKey = "ortqlora.loss_scale";
    private const string LossScaleStepsKey = "ortqlora.steps_at_loss_scale";

    /// <summary>Writes a state; the file appears whole or not at all.</summary>
    /// <exception cref="FileWriteException">The file cannot be written.</exception>
    public static void Write(string path, EngineState state)
    {
        IEnumerable<KeyValuePair<string, ITensor>> parameters = state.Parameters.Select(p => KeyValuePair.Create(p.Key, (ITensor)p.Value));
        IEnumerable<KeyValuePair<string, ITensor>> states = state.OptimizerStates.SelectMany(
            s => s.Value.Select(p => KeyValuePair.Create($"{p.Key}.{s.Key}", (ITensor)p.Value)));
        IEnumerable<KeyValuePair<string, ITensor>> adapter = state.AdapterState.Select(t => KeyValuePair.Create(AdapterPrefix + t.Key, t.Value));
        SafetensorsWriter.Write(path, parameters.Concat(states).Concat(adapter),
        [
            new(StepsKey, state.CompletedSteps.ToString(CultureInfo.InvariantCulture)),
            new(PassesKey, state.CompletedPasses.ToString(CultureInfo.InvariantCulture)),
            new(StatesKey, string.Join(',', state.OptimizerStates.Keys)),
            .. state.LossScale is { } scale
                ? new KeyValuePair<string, string>[]
                {
                    new(LossScaleKey, ((long)scale.Value).ToString(CultureInfo.InvariantCulture)),
                    new(LossScaleStepsKey, scale.GoodSteps.ToString(CultureInfo.InvariantCulture)),
                }
                : [],
        ]);
    }

    /// <summary>Reads a state into memory.</summary>
    /// <exception cref="ModelFormatException">The file is absent, truncated, or no engine state.</exception>
    public static EngineState Read(string path)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        if (!TryCount(file, StepsKey, out long steps) || !TryCount(file, PassesKey, out long passes) || !file.Metadata.TryGetValue(StatesKey, out string? names))
        {
            throw new ModelFormatException($"'{path}' is no engine state: its metadata lack '{StepsKey}', '{PassesKey}' or '{StatesKey}'.");
        }

        string[] states = names.Split(',', StringSplitOptions.RemoveEmptyEntries);
        Dictionary<string, DenseTensor> parameters = [];
        Dictionary<string, Dictionary<string, DenseTensor>> byState = states.ToDictionary(s => s, _ => new Dictionary<string, DenseTensor>());
        Dictionary<string, ITensor> adapter = [];
        foreach ((string key, ITensor tensor) in file.Tensors)
        {
            DenseTensor copy = new(tensor.ElementType, tensor.Dims, tensor.ToBytes());
            if (key.StartsWith(AdapterPrefix, StringComparison.Ordinal))
            {
                adapter[key[AdapterPrefix.Length..]] = copy;
                continue;
            }

            string? state = states.FirstOrDefault(s => key.EndsWith("." + s, StringComparison.Ordinal));
            if (state is null)
            {
                parameters[key] = copy;
            }
            else
            {
                byState[state][key[..^(state.Length + 1)]] = copy;
            }
        }

        return new EngineState(steps, passes, parameters, byState.ToDictionary(s => s.Key, s => (IReadOnlyDictionary<string, DenseTensor>)s.Value))
        {
            AdapterState = adapter,
            LossScale = LossScale(file),
        };
    }

    private static bool TryCount(SafetensorsFile file, string key, out long count)
    {
        count = 0;
        return file.Metadata.TryGetValue(key, out string? text) && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out count);
    }

    private static (double Value, long GoodSteps)? LossScale(SafetensorsFile file) =>
        TryCount(file, LossScaleKey, out long scale) && scale > 0 && TryCount(file, LossScaleStepsKey, out long steps) ? (scale, steps) : null;
}
