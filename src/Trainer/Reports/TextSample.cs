using System.Text.Json.Serialization;

namespace OrtQLoRA.Trainer.Reports;

/// <summary>What a trained model makes of a prompt.</summary>
/// <param name="Prompt">The prompt, text or ids.</param>
/// <param name="Continuation">The model's likeliest continuation.</param>
/// <param name="Expected">How the data go on.</param>
public sealed record TextSample(
    [property: JsonPropertyName("prompt")] string Prompt,
    [property: JsonPropertyName("continuation")] string Continuation,
    [property: JsonPropertyName("expected")] string Expected);
