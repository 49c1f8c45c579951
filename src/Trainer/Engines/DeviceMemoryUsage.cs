namespace OrtQLoRA.Trainer.Engines;

/// <summary>Memory of a GPU that sessions use for tensors, weights included, without what the CUDA libraries take for themselves.</summary>
/// <param name="Peak">The most bytes that tensors took at a time.</param>
/// <param name="Reserved">Bytes taken from the GPU for them.</param>
public readonly record struct DeviceMemoryUsage(long Peak, long Reserved);
