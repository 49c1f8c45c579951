namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>How it goes on behind a statement.</summary>
internal enum JinjaFlow
{
    /// <summary>With the next statement.</summary>
    Next,

    /// <summary>With the loop's next item.</summary>
    Continue,

    /// <summary>Behind the loop.</summary>
    Break,
}
