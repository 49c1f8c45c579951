using System.Text.Json.Serialization;

namespace OrtQLoRA.Trainer.Callbacks;

/// <summary>One line of <c>metrics.jsonl</c>.</summary>
/// <param name="Step">Number of the optimizer step, from 1.</param>
/// <param name="Epoch">Passes over the data begun before this step ended, fractional.</param>
/// <param name="Loss">Loss of the step's micro-batches: their mean, or sum over counted tokens, as normalised.</param>
/// <param name="GradientNorm">Norm of all gradients before clipping.</param>
/// <param name="LearningRate">The learning rate used.</param>
/// <param name="Tokens">Tokens attended to in this step.</param>
/// <param name="Seconds">Wall time of the step.</param>
public sealed record StepMetrics(
    [property: JsonPropertyName("step")] long Step,
    [property: JsonPropertyName("epoch")] double Epoch,
    [property: JsonPropertyName("loss")] double Loss,
    [property: JsonPropertyName("grad_norm")] double GradientNorm,
    [property: JsonPropertyName("lr")] double LearningRate,
    [property: JsonPropertyName("tokens")] long Tokens,
    [property: JsonPropertyName("seconds")] double Seconds);
