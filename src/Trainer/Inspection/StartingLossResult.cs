namespace OrtQLoRA.Trainer.Inspection;

/// <summary>A loss before the first step.</summary>
/// <param name="Base">How the base is kept and the adapter starts.</param>
/// <param name="Rank">The adapter's rank; null where it starts without effect.</param>
/// <param name="Loss">Mean over the counted tokens of all data.</param>
public sealed record StartingLossResult(string Base, int? Rank, double Loss);
