namespace OrtQLoRA.Graph.Adapters;

/// <summary>A tensor that an adapter method adds to a model and trains; fp32.</summary>
/// <param name="Name">Name of the graph input: module path and parameter, <c>model.layers.0.q_proj.lora_A.weight</c>.</param>
/// <param name="FileKey">Key in the adapter file.</param>
/// <param name="Dims">Dimensions, in the file and in the graph.</param>
/// <param name="Initialize">Fills the values at the first step from a generator that is the tensor's own.</param>
public sealed record AdapterTensor(string Name, string FileKey, IReadOnlyList<long> Dims, Action<ReproducibleRandom, Span<float>> Initialize);
