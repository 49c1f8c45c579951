using System.Text;

namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>Collects text, notes the parts between <c>{% generation %}</c> tags, and bounds what a template can cost.</summary>
internal sealed class JinjaOutput
{
    private const int LongestText = 1 << 28;
    private const int MostSteps = 2_000_000;
    private const int DeepestCall = 64;

    private readonly StringBuilder _text = new();
    private readonly JinjaOutput? _root;
    private int _steps;
    private int _depth;

    /// <summary>Creates an output.</summary>
    /// <param name="root">The template's own, if this one is a macro's.</param>
    internal JinjaOutput(JinjaOutput? root = null)
    {
        _root = root?._root ?? root;
    }

    /// <summary>Parts that a model generates, from and to which character.</summary>
    internal List<(int Start, int End)> Generated { get; } = [];

    internal int Length => _text.Length;

    internal string Text => _text.ToString();

    internal void Write(string text)
    {
        if (_text.Length + text.Length > LongestText)
        {
            throw new JinjaException("The chat template writes more than 256 MiB of text; it does not come to an end.");
        }

        _text.Append(text);
    }

    /// <summary>Counts a statement or call.</summary>
    internal void Step()
    {
        if (++(_root ?? this)._steps > MostSteps)
        {
            throw new JinjaException("The chat template takes more than 2 million steps; it does not come to an end.");
        }
    }

    internal void Enter()
    {
        if (++(_root ?? this)._depth > DeepestCall)
        {
            throw new JinjaException($"The macros of the chat template call each other more than {DeepestCall} deep.");
        }
    }

    internal void Leave() => (_root ?? this)._depth--;
}
