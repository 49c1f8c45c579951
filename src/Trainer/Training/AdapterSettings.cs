using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Adapters.Targets;
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
            IAdapterMethod method = options.Method is TrainingMethod chosen ? AdapterRegistry.Default.Get(OptionText.Name(chosen))
                : initial?.Method ?? AdapterRegistry.Default.Get(OptionText.Name(TrainingMethod.Lora));
            AdapterConfig? given = initial?.Method?.Name == method.Name ? initial.Config : null;
            TrainingTask task = options.Task ?? TaskOf(given?.TaskType);
            AdapterConfig config = method.Name == OptionText.Name(TrainingMethod.Lora)
                ? Lora(options, given as LoraConfig)
                : BaseWeights(options, given as BaseWeightConfig);
            config.TaskType ??= TaskTypes.GetValueOrDefault(task);
            config.BaseModelNameOrPath ??= options.Model;
            config.ModulesToSave = options.ModulesToSave ?? config.ModulesToSave;
            return new AdapterSettings(method, config, initial, task);
        }
        catch
        {
            initial?.Dispose();
            throw;
        }
    }

    public void Dispose() => Initial?.Dispose();

    private static LoraConfig Lora(TrainingOptions options, LoraConfig? given)
    {
        LoraConfig config = given ?? new LoraConfig();
        config.TargetModules = options.Targets ?? config.TargetModules ?? ModuleSelector.AllLinear;
        config.ExcludeModules = options.ExcludeModules ?? config.ExcludeModules;
        config.LayersToTransform = options.LayersToTransform ?? config.LayersToTransform;
        config.Rank = options.Rank ?? config.Rank;
        config.Alpha = options.Alpha ?? config.Alpha;
        config.UseRsLora = options.RsLora ?? config.UseRsLora;
        config.Dropout = options.Dropout ?? config.Dropout;
        config.RankPattern = options.RankPattern is null ? config.RankPattern : [.. options.RankPattern.Select(p => KeyValuePair.Create(p.Key, (double)p.Value))];
        config.AlphaPattern = options.AlphaPattern is null ? config.AlphaPattern : [.. options.AlphaPattern];
        config.Bias = options.Bias switch
        {
            null => config.Bias,
            "all" => LoraBias.All,
            "lora_only" => LoraBias.LoraOnly,
            _ => LoraBias.None,
        };
        config.Initialization = options.InitLoraWeights switch
        {
            null => config.Initialization,
            "gaussian" => LoraInitialization.Gaussian,
            _ => LoraInitialization.Default,
        };
        return config;
    }

    private static BaseWeightConfig BaseWeights(TrainingOptions options, BaseWeightConfig? given)
    {
        BaseWeightConfig config = given ?? new BaseWeightConfig();
        config.Parameters = options.Targets ?? config.Parameters;
        string[] unfit =
        [
            .. new (string Flag, bool IsSet)[]
            {
                ("--rank", options.Rank is not null), ("--alpha", options.Alpha is not null), ("--rslora", options.RsLora is true),
                ("--rank-pattern", options.RankPattern is not null), ("--alpha-pattern", options.AlphaPattern is not null),
                ("--dropout", options.Dropout is not null), ("--bias", options.Bias is not null), ("--init-lora-weights", options.InitLoraWeights is not null),
            }.Where(f => f.IsSet).Select(f => $"{f.Flag} belongs to --method lora; it means nothing where weights are trained themselves."),
        ];
        return unfit.Length == 0 ? config : throw new ConfigurationException(unfit);
    }

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
