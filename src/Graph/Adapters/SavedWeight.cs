using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>A parameter of the base model that PEFT writes into the adapter file although it is not trained.</summary>
/// <param name="Parameter">The parameter, written with its original values.</param>
/// <param name="FileKey">Key in the adapter file.</param>
public sealed record SavedWeight(ModelParameter Parameter, string FileKey);
