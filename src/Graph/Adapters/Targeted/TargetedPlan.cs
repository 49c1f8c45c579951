using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Targeted;

/// <summary>A plan of a method on chosen layers: modules to save and biases go along.</summary>
internal abstract class TargetedPlan : AdapterPlan
{
    private readonly BaseParameters _base;

    protected TargetedPlan(TargetedConfig config, LinearSites sites, IReadOnlyList<LinearModule> modules)
        : base(config)
    {
        _base = new BaseParameters(config, sites, modules);
    }

    public override IReadOnlyList<TrainedWeight> TrainedWeights => _base.Trained;

    public override IReadOnlyList<SavedWeight> SavedWeights => _base.Saved;

    public override IReadOnlyDictionary<string, string> Duplicates => _base.Duplicates;

    /// <summary>A tensor of a module, named as PEFT names it.</summary>
    protected static AdapterTensor Tensor(LinearModule module, string parameter, IReadOnlyList<long> dims, Action<FirstValues, Span<float>> initialize)
    {
        string name = $"{module.Path}.{parameter}";
        return new AdapterTensor(name, PeftKeys.Of(name), dims, initialize);
    }
}
