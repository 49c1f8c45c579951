namespace OrtQLoRA.Trainer.Callbacks;

/// <summary>What a run is about to do.</summary>
/// <param name="TotalSteps">Optimizer steps of the whole run.</param>
/// <param name="ExampleCount">Training examples.</param>
/// <param name="TrainableParameters">Numbers that training changes.</param>
/// <param name="FrozenParameters">Numbers of the base that stay.</param>
/// <param name="AdaptedModules">Module paths that carry an adapter, or whose weights are trained.</param>
public sealed record TrainingRunInfo(
    long TotalSteps, int ExampleCount, long TrainableParameters, long FrozenParameters, IReadOnlyList<string> AdaptedModules)
{
    /// <summary>Steps that an earlier part of the run has done; 0 unless it is resumed.</summary>
    public long CompletedSteps { get; init; }
}
