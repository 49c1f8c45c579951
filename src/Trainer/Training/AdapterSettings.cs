using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;

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
        [TrainingTask.SequenceToSequence] = "SEQ_2_SEQ_LM",
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

    internal AdapterConfig Config { get; private set; }

    /// <summary>
    /// Looks at the layers' inputs where the method's start does (EVA, CorDA), and takes over what follows for the configuration.
    /// </summary>
    internal void Observe(OnnxModel model, IReadOnlyList<TrainingExample> examples, DataCollator collator, ITrainingCallback callback)
    {
        if (Initial is not null || Config is not LoraConfig { Initialization: LoraInitialization.Eva or LoraInitialization.Corda })
        {
            return;
        }

        OnnxModel normalised = ModelCloner.Clone(model);
        NormalisationPipeline.ForTraining().Run(normalised);
        AdapterPlan plan = Method.Plan(LinearFinder.Find(normalised), Config);
        callback.OnStage("Looking at the layers' inputs");
        Statistics = LayerStatistics.Collect(model, plan.ObservedModules, examples, collator);
        Config = plan.ConfigFor(Statistics);
    }

    /// <summary>What was seen of the layers' inputs; null where the method does not look.</summary>
    internal LayerStatistics? Statistics { get; private set; }

    /// <summary>Tensors to start from; null for the method's own first values.</summary>
    internal AdapterWeights? Initial { get; }

    internal TrainingTask Task { get; }

    /// <summary>Puts the settings together.</summary>
    /// <param name="options">The options.</param>
    /// <param name="refusesForeign">Whether an option that means nothing to the method is a fault, rather than passed over.</param>
    /// <exception cref="ConfigurationException">Options contradict the initial adapter or each other.</exception>
    internal static AdapterSettings Create(TrainingOptions options, bool refusesForeign = true)
    {
        AdapterWeights? initial = options.InitAdapter is null ? null : PeftAdapterFolder.Read(options.InitAdapter);
        try
        {
            IAdapterMethod method = options.Method is { } chosen ? AdapterRegistry.Default.Get(chosen == MethodNames.Dora ? "lora" : chosen)
                : options.Adapter is { } configured ? AdapterOptions.MethodOf(configured)
                : initial?.Method ?? AdapterRegistry.Default.Get("lora");
            AdapterConfig? given = options.Adapter ?? (initial?.Method?.Name == method.Name ? initial.Config : null);
            TrainingTask task = options.Task ?? TaskOf(given?.TaskType);
            AdapterConfig config = AdapterOptions.Configure(method, given, options, refusesForeign);
            if (options.Optimizer.Name == LoraFaOptimizer.OptimizerName)
            {
                ((config as LoraConfig) ?? throw new ConfigurationException($"--optimizer {options.Optimizer.Name} trains LoRA's B beside a frozen A; it does not go with --method {method.Name}.")).FreezesA = true;
            }

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
