namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>The value of a name that is not set: empty as text, false as a condition, an error where something is taken of it.</summary>
/// <param name="Name">The name.</param>
internal sealed record JinjaUndefined(string Name)
{
    internal static JinjaUndefined Of(string name) => new(name);
}
