using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Losses;

/// <summary>What a loss head has added to a graph.</summary>
/// <param name="Loss">The loss: a float scalar, the mean over what is counted.</param>
/// <param name="Target">The new graph input: int64 labels or float values to reach.</param>
/// <param name="Count">How many labels the loss is the mean of, a float scalar; null if every element counts.</param>
public sealed record LossAttachment(Value Loss, Value Target, Value? Count);
