namespace OrtQLoRA.Graph.Linears;

/// <summary>
/// The part of an initializer that holds one module's weight or bias, where several modules share the initializer: the
/// queries', keys' and values' columns of a fused attention weight.
/// </summary>
/// <param name="Axis">Axis of the initializer that is divided.</param>
/// <param name="Start">First index along it.</param>
/// <param name="Length">Number of indices.</param>
public readonly record struct WeightSlice(int Axis, long Start, long Length);
