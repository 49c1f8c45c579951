using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines;

/// <summary>What a forward pass returns.</summary>
/// <param name="Loss">The loss: mean over what is counted.</param>
/// <param name="Outputs">The outputs asked for, by name.</param>
public sealed record EvalStepResult(double Loss, IReadOnlyDictionary<string, DenseTensor> Outputs);
