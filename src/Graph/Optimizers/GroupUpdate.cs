using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Optimizers;

/// <summary>What an optimizer's update of one group computes; each value replaces its input in the same memory.</summary>
/// <param name="Parameters">The new parameters, float [n].</param>
/// <param name="States">The new value of every state in <see cref="IOptimizerDefinition.States"/>, of its shape and type.</param>
public sealed record GroupUpdate(Value Parameters, IReadOnlyDictionary<string, Value> States);
