using System.Text.Json.Serialization;

namespace OrtQLoRA.Trainer.Callbacks;

/// <summary>One line of <c>metrics.jsonl</c>.</summary>
/// <param name="Step">Number of the optimizer step, from 1.</param>
/// <param name="Epoch">Passes over the data begun before this step ended, fractional.</param>
/// <param name="Loss">Loss of the step's micro-batches: their mean, or sum over counted tokens, as normalised; NaN (null in the file) if it was not finite.</param>
/// <param name="GradientNorm">Norm of all gradients before clipping; NaN (null in the file) if it was not finite or not computed.</param>
/// <param name="LearningRate">The learning rate used.</param>
/// <param name="Tokens">Tokens attended to in this step.</param>
/// <param name="Seconds">Wall time of the step.</param>
public sealed record StepMetrics(
    [property: JsonPropertyName("step")] long Step,
    [property: JsonPropertyName("epoch")] double Epoch,
    [property: JsonPropertyName("loss"), JsonConverter(typeof(FiniteOrNullConverter))] double Loss,
    [property: JsonPropertyName("grad_norm"), JsonConverter(typeof(FiniteOrNullConverter))] double GradientNorm,
    [property: JsonPropertyName("lr")] double LearningRate,
    [property: JsonPropertyName("tokens")] long Tokens,
    [property: JsonPropertyName("seconds")] double Seconds)
{
    /// <summary>Why the step changed nothing: <c>skipped</c> or <c>rolled-back</c>; null for an ordinary step.</summary>
    [JsonPropertyName("diverged"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Diverged { get; init; }

    /// <summary>The most bytes that tensors took on the GPU at a time until then; null on the processor.</summary>
    [JsonPropertyName("device_peak_bytes"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? DevicePeakBytes { get; init; }

    /// <summary>Bytes taken from the GPU for them; null on the processor.</summary>
    [JsonPropertyName("device_reserved_bytes"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? DeviceReservedBytes { get; init; }

    /// <summary>Loss on the eval data after this step; null where it was not evaluated.</summary>
    [JsonPropertyName("eval_loss"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? EvalLoss { get; init; }

    /// <summary>Accuracy on the eval data after this step; null where it was not evaluated, or for regression.</summary>
    [JsonPropertyName("eval_accuracy"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? EvalAccuracy { get; init; }
}
