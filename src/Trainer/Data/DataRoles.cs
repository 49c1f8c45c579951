namespace OrtQLoRA.Trainer.Data;

/// <summary>What columns of data can be to a model, by the names that <c>--columns</c> knows.</summary>
public static class DataRoles
{
    /// <summary>Every role.</summary>
    public static IReadOnlyList<string> All { get; } =
    [
        "text", "text_pair", "sentence", "sentence1", "sentence2", "prompt", "completion", "messages", "tools", "anchor", "positive", "negative",
        "label", "labels", "target", "input_ids", "attention_mask", "token_type_ids", "position_ids",
    ];
}
