namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>Arguments of a call.</summary>
/// <param name="Positional">Those without a name.</param>
/// <param name="Named">Those with one.</param>
internal sealed record JinjaArguments(IReadOnlyList<object?> Positional, IReadOnlyDictionary<string, object?> Named)
{
    internal static JinjaArguments None { get; } = new([], new Dictionary<string, object?>());

    /// <summary>An argument by place or name, or a default.</summary>
    internal object? Get(int index, string name, object? otherwise = null) =>
        Named.TryGetValue(name, out object? value) ? value : index < Positional.Count ? Positional[index] : otherwise;

    internal string Text(int index, string name, string? otherwise = null) => Get(index, name, otherwise) as string
        ?? throw new JinjaException($"A function of the chat template needs a text as '{name}'.");
}
