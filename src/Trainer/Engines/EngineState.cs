using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines;

/// <summary>All that a run needs to go on as if it had not stopped, apart from its place in the data.</summary>
/// <param name="CompletedSteps">Optimizer steps done.</param>
/// <param name="CompletedPasses">Training passes done, from whose number the graph draws dropout masks and noise.</param>
/// <param name="Parameters">Value of each parameter by name, float.</param>
/// <param name="OptimizerStates">For each state (for example <c>exp_avg</c>) its value for each parameter, of the type and shape that <see cref="Graph.Optimizers.OptimizerState"/> says.</param>
public sealed record EngineState(
    long CompletedSteps,
    long CompletedPasses,
    IReadOnlyDictionary<string, DenseTensor> Parameters,
    IReadOnlyDictionary<string, IReadOnlyDictionary<string, DenseTensor>> OptimizerStates)
{
    /// <summary>What the adapter method keeps between steps (AdaLoRA's averages), by name; empty for most methods.</summary>
    public IReadOnlyDictionary<string, ITensor> AdapterState { get; init; } = new Dictionary<string, ITensor>();

    /// <summary>Scale of gradients in fp16 and the steps since it last changed; null where gradients are not scaled.</summary>
    public (double Value, long GoodSteps)? LossScale { get; init; }
}
