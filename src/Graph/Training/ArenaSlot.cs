namespace OrtQLoRA.Graph.Training;

/// <summary>Where a parameter lies in its group's flat tensors.</summary>
/// <param name="Parameter">The parameter.</param>
/// <param name="Offset">First element.</param>
public sealed record ArenaSlot(TrainableParameter Parameter, long Offset);
