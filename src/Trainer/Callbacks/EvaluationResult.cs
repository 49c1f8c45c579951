using System.Text.Json.Serialization;

namespace OrtQLoRA.Trainer.Callbacks;

/// <summary>How well a model does on data.</summary>
/// <param name="Loss">Mean over all counted targets of the data.</param>
/// <param name="Perplexity">exp(loss) for language models, else null.</param>
/// <param name="Accuracy">Share of counted targets for which the largest logit is right; null for regression.</param>
/// <param name="Examples">Examples evaluated.</param>
/// <param name="CountedTargets">Targets that counted.</param>
/// <param name="Seconds">Wall time.</param>
public sealed record EvaluationResult(
    [property: JsonPropertyName("loss")] double Loss,
    [property: JsonPropertyName("perplexity"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] double? Perplexity,
    [property: JsonPropertyName("accuracy"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] double? Accuracy,
    [property: JsonPropertyName("examples")] long Examples,
    [property: JsonPropertyName("counted_targets")] long CountedTargets,
    [property: JsonPropertyName("seconds")] double Seconds);
