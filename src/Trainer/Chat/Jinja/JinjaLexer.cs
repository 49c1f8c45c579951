using System.Text;

namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>
/// Cuts a template into tokens, with the settings that chat templates are written for: <c>trim_blocks</c> (the line end behind a
/// statement goes) and <c>lstrip_blocks</c> (so does the white space before one that begins its line).
/// </summary>
internal sealed class JinjaLexer
{
    // Longest first.
    private static readonly string[] Symbols =
    [
        "**", "//", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", ",", ":", ".", "|", "+", "-", "*", "/", "%", "~", "=", "<", ">",
    ];

    private readonly string _source;
    private readonly List<JinjaToken> _tokens = [];
    private int _position;
    private bool _trimsNext;
    private bool _dropsNewLine;

    private JinjaLexer(string source)
    {
        _source = source.ReplaceLineEndings("\n");
    }

    private int Line => 1 + _source.AsSpan(0, Math.Min(_position, _source.Length)).Count('\n');

    /// <summary>The tokens of a template.</summary>
    /// <exception cref="JinjaException">A tag or string does not end.</exception>
    internal static IReadOnlyList<JinjaToken> Read(string source)
    {
        JinjaLexer lexer = new(source);
        lexer.Run();
        return lexer._tokens;
    }

    private void Run()
    {
        while (_position < _source.Length)
        {
            int tag = FindTag();
            AddText(_source[_position..tag], tag);
            if (tag == _source.Length)
            {
                break;
            }

            _position = tag + 2;
            char kind = _source[tag + 1];
            _position += _position < _source.Length && _source[_position] is '-' or '+' ? 1 : 0;
            if (kind == '#')
            {
                SkipComment();
            }
            else
            {
                ReadTag(kind);
            }
        }

        _tokens.Add(new JinjaToken(JinjaTokenKind.End, "", Line));
    }

    private int FindTag()
    {
        for (int i = _position; i + 1 < _source.Length; i++)
        {
            if (_source[i] == '{' && _source[i + 1] is '{' or '%' or '#')
            {
                return i;
            }
        }

        return _source.Length;
    }

    private void AddText(string text, int tag)
    {
        if (_trimsNext)
        {
            text = text.TrimStart();
        }
        else if (_dropsNewLine && text.StartsWith('\n'))
        {
            text = text[1..];
        }

        bool isTagTrimming = tag + 2 < _source.Length && _source[tag + 2] == '-';
        bool isKept = tag + 2 < _source.Length && _source[tag + 2] == '+';
        if (isTagTrimming)
        {
            text = text.TrimEnd();
        }
        else if (tag < _source.Length && _source[tag + 1] != '{' && !isKept)
        {
            int lineStart = _source.LastIndexOf('\n', Math.Max(tag - 1, 0)) + 1;
            if (tag == 0 || _source.AsSpan(lineStart, tag - lineStart).IndexOfAnyExcept(" \t") < 0)
            {
                text = text.TrimEnd(' ', '\t');
            }
        }

        if (text.Length > 0)
        {
            _tokens.Add(new JinjaToken(JinjaTokenKind.Text, text, Line));
        }
    }

    private void SkipComment()
    {
        int end = _source.IndexOf("#}", _position, StringComparison.Ordinal);
        if (end < 0)
        {
            throw Fault("a comment {# does not end");
        }

        _trimsNext = _source[end - 1] == '-';
        _dropsNewLine = true;
        _position = end + 2;
    }

    private void ReadTag(char kind)
    {
        bool isExpression = kind == '{';
        int first = _tokens.Count;
        _tokens.Add(new JinjaToken(isExpression ? JinjaTokenKind.ExpressionStart : JinjaTokenKind.StatementStart, "", Line));
        string end = isExpression ? "}}" : "%}";
        int depth = 0;
        while (true)
        {
            SkipSpace();
            if (_position >= _source.Length)
            {
                throw Fault($"a tag does not end with {end}");
            }

            ReadOnlySpan<char> rest = _source.AsSpan(_position);
            bool trims = rest.StartsWith("-" + end) || rest.StartsWith("+" + end);
            if (depth == 0 && (trims || rest.StartsWith(end)))
            {
                _trimsNext = rest[0] == '-';
                _dropsNewLine = !isExpression && rest[0] != '+';
                _position += end.Length + (trims ? 1 : 0);
                _tokens.Add(new JinjaToken(JinjaTokenKind.TagEnd, "", Line));
                break;
            }

            depth += rest[0] switch
            {
                '{' or '(' or '[' => 1,
                '}' or ')' or ']' => -1,
                _ => 0,
            };
            ReadToken(rest);
        }

        if (!isExpression && _tokens[first + 1] is { Kind: JinjaTokenKind.Name, Text: "raw" })
        {
            ReadRaw(first);
        }
    }

    private void ReadRaw(int first)
    {
        _tokens.RemoveRange(first, _tokens.Count - first);
        System.Text.RegularExpressions.Match end = System.Text.RegularExpressions.Regex.Match(_source[_position..], @"\{%-?\s*endraw\s*-?%\}");
        if (!end.Success)
        {
            throw Fault("{% raw %} has no {% endraw %}");
        }

        _tokens.Add(new JinjaToken(JinjaTokenKind.Text, _source.Substring(_position, end.Index), Line));
        _position += end.Index + end.Length;
    }

    private void SkipSpace()
    {
        while (_position < _source.Length && char.IsWhiteSpace(_source[_position]))
        {
            _position++;
        }
    }

    private void ReadToken(ReadOnlySpan<char> rest)
    {
        int line = Line;
        if (rest[0] is '\'' or '"')
        {
            _tokens.Add(new JinjaToken(JinjaTokenKind.String, ReadString(rest[0]), line));
            return;
        }

        int length = 0;
        if (char.IsAsciiDigit(rest[0]))
        {
            while (length < rest.Length && (char.IsAsciiDigit(rest[length]) || (rest[length] == '.' && length + 1 < rest.Length && char.IsAsciiDigit(rest[length + 1]))))
            {
                length++;
            }

            Add(JinjaTokenKind.Number, length);
            return;
        }

        while (length < rest.Length && (char.IsLetterOrDigit(rest[length]) || rest[length] == '_'))
        {
            length++;
        }

        if (length > 0)
        {
            Add(JinjaTokenKind.Name, length);
            return;
        }

        foreach (string symbol in Symbols)
        {
            if (rest.StartsWith(symbol))
            {
                Add(JinjaTokenKind.Symbol, symbol.Length);
                return;
            }
        }

        throw Fault($"'{rest[0]}' is no part of an expression");
    }

    private void Add(JinjaTokenKind kind, int length)
    {
        _tokens.Add(new JinjaToken(kind, _source.Substring(_position, length), Line));
        _position += length;
    }

    private string ReadString(char quote)
    {
        StringBuilder text = new();
        for (_position++; _position < _source.Length; _position++)
        {
            char c = _source[_position];
            if (c == quote)
            {
                _position++;
                return text.ToString();
            }

            if (c == '\\' && _position + 1 < _source.Length)
            {
                char escaped = _source[++_position];
                string? known = escaped switch { 'n' => "\n", 't' => "\t", 'r' => "\r", '\\' => "\\", '\'' => "'", '"' => "\"", '\n' => "", _ => null };
                if (escaped is 'u' && _position + 4 < _source.Length && ushort.TryParse(_source.AsSpan(_position + 1, 4), System.Globalization.NumberStyles.HexNumber, null, out ushort code))
                {
                    known = ((char)code).ToString();
                    _position += 4;
                }

                text.Append(known ?? "\\" + escaped);
                continue;
            }

            text.Append(c);
        }

        throw Fault("a string does not end");
    }

    private JinjaException Fault(string what) => new($"The chat template cannot be read: line {Line}: {what}.");
}
