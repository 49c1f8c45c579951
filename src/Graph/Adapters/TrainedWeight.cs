using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>A parameter of the base model that is trained itself: a bias, a saved module, or any weight in full fine-tuning.</summary>
/// <param name="Parameter">The parameter.</param>
/// <param name="FileKey">Key in the adapter file, where the tensor has PyTorch's orientation.</param>
/// <param name="IsCopy">
/// Whether the module gets a copy of its own, so that another module that shares the initializer (tied weights) keeps the
/// original, as PEFT's modules to save do; otherwise the change shows wherever the initializer is read.
/// </param>
public sealed record TrainedWeight(ModelParameter Parameter, string FileKey, bool IsCopy)
{
    /// <summary>Output heads that repeat an embedding's values in an initializer of their own, and change with it.</summary>
    public IReadOnlyList<ModelParameter> Tied { get; init; } = [];
}
