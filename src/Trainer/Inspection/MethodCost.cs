namespace OrtQLoRA.Trainer.Inspection;

/// <summary>What an adapter method would train in a model, and the memory of that beside the base and the activations.</summary>
/// <param name="Name">The method, as <c>--method</c> takes it.</param>
/// <param name="Modules">Number of modules that it adds tensors to.</param>
/// <param name="Trained">Numbers that training changes.</param>
/// <param name="TrainedOfBase">How many of these are the base's own.</param>
/// <param name="Frozen">Numbers that it adds but does not train, such as VeRA's projections.</param>
/// <param name="Bytes">Memory of both, with the gradients and the optimizer's states of what is trained.</param>
/// <param name="CanMerge">Whether the result can be merged into the model's weights.</param>
public sealed record MethodCost(string Name, int Modules, long Trained, long TrainedOfBase, long Frozen, long Bytes, bool CanMerge);
