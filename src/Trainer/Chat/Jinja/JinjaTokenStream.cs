namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>Goes through the tokens of a template.</summary>
internal sealed class JinjaTokenStream
{
    private const int DeepestNesting = 200;

    private readonly IReadOnlyList<JinjaToken> _tokens;
    private int _position;
    private int _depth;

    internal JinjaTokenStream(IReadOnlyList<JinjaToken> tokens)
    {
        _tokens = tokens;
    }

    internal JinjaToken Current => _tokens[_position];

    internal JinjaToken Ahead => _tokens[Math.Min(_position + 1, _tokens.Count - 1)];

    internal JinjaToken Take() => _tokens[_position < _tokens.Count - 1 ? _position++ : _position];

    internal bool IsSymbol(string symbol) => Current.Kind == JinjaTokenKind.Symbol && Current.Text == symbol;

    internal bool IsName(string name) => Current.Kind == JinjaTokenKind.Name && Current.Text == name;

    internal bool TrySymbol(string symbol) => Try(IsSymbol(symbol));

    internal bool TryName(string name) => Try(IsName(name));

    internal void Symbol(string symbol)
    {
        if (!TrySymbol(symbol))
        {
            throw Expected($"'{symbol}'");
        }
    }

    internal void Keyword(string name)
    {
        if (!TryName(name))
        {
            throw Expected($"'{name}'");
        }
    }

    internal string Name() => Current.Kind == JinjaTokenKind.Name ? Take().Text : throw Expected("a name");

    internal void TagEnd()
    {
        if (!Try(Current.Kind == JinjaTokenKind.TagEnd))
        {
            throw Expected("the end of the tag");
        }
    }

    internal void Enter()
    {
        if (++_depth > DeepestNesting)
        {
            throw new JinjaException($"The chat template cannot be read: line {Current.Line}: it is nested more than {DeepestNesting} deep.");
        }
    }

    internal void Leave() => _depth--;

    internal JinjaException Expected(string what) => new(
        $"The chat template cannot be read: line {Current.Line}: expected {what}, found {(Current.Kind == JinjaTokenKind.End ? "its end" : Current.Kind == JinjaTokenKind.TagEnd ? "the end of the tag" : $"'{Current.Text}'")}.");

    private bool Try(bool fits)
    {
        _position += fits ? 1 : 0;
        return fits;
    }
}
