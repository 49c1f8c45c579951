using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Training;

/// <summary>
/// Method and configuration of a run's adapter: what the initial adapter says, overridden by the options that are set, with
/// defaults for the rest.
/// </summary>
internal sealed class AdapterSettings : IDisposable
{
    private static readonly Dictionary<TrainingTask, string> TaskTypes = new()
    {
        [TrainingTask.CausalLm] = "CAUSAL_LM",
        [TrainingTask.SequenceClassification] = "SEQ_CLS",
        [TrainingTask.TokenClassification] = "TOKEN_CLS",
        [TrainingTask.Embedding] = "FEATURE_EXTRACTION",
    };

    private AdapterSettings(IAdapterMethod method, AdapterConfig config, AdapterWeights? initial, TrainingTask task)
    {
        Method = method;
        Config = config;
        Initial = initial;
        Task = task;
    }

    internal IAdapterMethod Method { get; }

    internal AdapterConfig Config { get; }

    /// <summary>Tensors to start from; null for the method's own first values.</summary>
    internal AdapterWeights? Initial { get; }

    internal TrainingTask Task { get; }

    /// <summary>Puts the settings together.</summary>
    /// <exception cref="ConfigurationException">Options contradict the initial adapter or each other.</exception>
    internal static AdapterSettings Create(TrainingOptions options)
    {
        AdapterWeights? initial = options.InitAdapter is null ? null : PeftAdapterFolder.Read(options.InitAdapter);
        try
        {
            IAdapterMethod method = options.Method is { } chosen ? AdapterRegistry.Default.Get(chosen == MethodNames.Dora ? "lora" : chosen)
                : options.Adapter is { } configured ? AdapterOptions.MethodOf(configured)
                : initial?.Method ?? AdapterRegistry.Default.Get("lora");
            AdapterConfig? given = options.Adapter ?? (initial?.Method?.Name == method.Name ? initial.Config : null);
            TrainingTask task = options.Task ?? TaskOf(given?.TaskType);
            AdapterConfig config = AdapterOptions.Configure(method, given, options);
            config.TaskType ??= TaskTypes.GetValueOrDefault(task);
            config.BaseModelNameOrPath ??= options.Model;
            return new AdapterSettings(method, config, initial, task);
        }
        catch
        {
            initial?.Dispose();
            throw;
        }
    }

    public void Dispose() => Initial?.Dispose();

    private static TrainingTask TaskOf(string? taskType)
    {
        foreach ((TrainingTask task, string name) in TaskTypes)
        {
            if (name == taskType)
            {
                return task;
            }
        }

        return TrainingTask.CausalLm;
    }
}
