namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>Kinds of tokens.</summary>
internal enum JinjaTokenKind
{
    /// <summary>Text between tags.</summary>
    Text,

    /// <summary><c>{{</c>.</summary>
    ExpressionStart,

    /// <summary><c>{%</c>.</summary>
    StatementStart,

    /// <summary><c>}}</c> or <c>%}</c>.</summary>
    TagEnd,

    /// <summary>A name or keyword.</summary>
    Name,

    /// <summary>A string, unescaped.</summary>
    String,

    /// <summary>A number.</summary>
    Number,

    /// <summary>An operator or bracket.</summary>
    Symbol,

    /// <summary>The end of the template.</summary>
    End,
}
