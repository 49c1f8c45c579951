using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Training;

/// <summary>A weight that is not trained but fed like a parameter, from the checkpoint.</summary>
/// <param name="Name">Name of the graph input.</param>
/// <param name="Value">Its value.</param>
public sealed record FrozenParameter(string Name, ITensor Value);
