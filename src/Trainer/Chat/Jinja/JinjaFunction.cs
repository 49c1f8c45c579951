namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>Something that a template can call.</summary>
/// <param name="arguments">The arguments.</param>
internal delegate object? JinjaFunction(JinjaArguments arguments);
