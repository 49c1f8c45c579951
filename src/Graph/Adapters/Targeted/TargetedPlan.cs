using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Targeted;

/// <summary>A plan of a method on chosen layers: modules to save go along.</summary>
internal abstract class TargetedPlan : AdapterPlan
{
    protected TargetedPlan(TargetedConfig config, LinearSites sites)
        : base(config)
    {
        TrainedWeights = [.. SavedModules.Train(sites, config.AllModulesToSave)];
    }

    public override IReadOnlyList<TrainedWeight> TrainedWeights { get; }

    /// <summary>A tensor of a module, named as PEFT names it.</summary>
    protected static AdapterTensor Tensor(LinearModule module, string parameter, IReadOnlyList<long> dims, Action<FirstValues, Span<float>> initialize)
    {
        string name = $"{module.Path}.{parameter}";
        return new AdapterTensor(name, PeftKeys.Of(name), dims, initialize);
    }
}
