namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>A token.</summary>
/// <param name="Kind">Kind.</param>
/// <param name="Text">Text.</param>
/// <param name="Line">Line of the template, from 1.</param>
internal readonly record struct JinjaToken(JinjaTokenKind Kind, string Text, int Line);
