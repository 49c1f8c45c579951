using System.Globalization;
using System.Text;

namespace OrtQLoRA.Graph.Inference;

/// <summary>
/// Reads symbolic expressions: sums, differences and products of integers, names, <c>floor(a/b)</c> (also
/// <c>a//b</c>), <c>min</c>, <c>max</c> and <c>broadcast</c>. A name that is no identifier stands in braces.
/// </summary>
internal sealed class SymbolicSyntax
{
    private const int MaxDepth = 32;
    private readonly string _text;
    private int _position;
    private int _depth;

    private SymbolicSyntax(string text)
    {
        _text = text;
    }

    /// <summary>Parses an expression.</summary>
    /// <returns>Null if the text is no expression.</returns>
    internal static SymbolicExpression? Parse(string text)
    {
        SymbolicSyntax parser = new(text);
        SymbolicExpression? result = parser.Sum();
        parser.SkipSpace();
        return parser._position == text.Length ? result : null;
    }

    /// <summary>Parses an expression; a text that is none becomes a symbol of that name.</summary>
    internal static SymbolicExpression ParseOrQuote(string text) => Parse(text) ?? SymbolicExpression.Symbol(text);

    /// <summary>A name as it stands in an expression.</summary>
    internal static string Quote(string name) =>
        IsIdentifier(name) ? name : "{" + name.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("}", "\\}", StringComparison.Ordinal) + "}";

    internal static bool IsIdentifier(string name) => name.Length > 0 && IsFirst(name[0]) && name.All(IsLater);

    internal static string FunctionName(SymbolicAtomKind kind) => kind switch
    {
        SymbolicAtomKind.Minimum => "min",
        SymbolicAtomKind.Maximum => "max",
        _ => "broadcast",
    };

    private static bool IsFirst(char c) => char.IsLetter(c) || c == '_';

    private static bool IsLater(char c) => char.IsLetterOrDigit(c) || c is '_' or '.' or ':' or '#' or '$' or '@';

    private SymbolicExpression? Sum()
    {
        if (++_depth > MaxDepth)
        {
            return null;
        }

        bool negative = Take('-');
        SymbolicExpression? sum = Product();
        sum = negative ? -sum : sum;
        while (sum is not null)
        {
            if (Take('+'))
            {
                sum += Product();
            }
            else if (Take('-'))
            {
                sum -= Product();
            }
            else
            {
                break;
            }
        }

        _depth--;
        return sum;
    }

    private SymbolicExpression? Product()
    {
        SymbolicExpression? product = Factor();
        while (product is not null)
        {
            if (Take('*'))
            {
                product *= Factor();
            }
            else if (Peek("//"))
            {
                _position += 2;
                product = SymbolicExpression.FloorDivide(product, Factor());
            }
            else
            {
                break;
            }
        }

        return product;
    }

    private SymbolicExpression? Factor()
    {
        SkipSpace();
        if (_position == _text.Length)
        {
            return null;
        }

        char c = _text[_position];
        return c == '(' ? Parenthesised()
            : c == '{' ? Braced()
            : char.IsAsciiDigit(c) ? Number()
            : IsFirst(c) ? Word()
            : null;
    }

    private SymbolicExpression? Parenthesised()
    {
        _position++;
        SymbolicExpression? inner = Sum();
        return Take(')') ? inner : null;
    }

    private SymbolicExpression? Braced()
    {
        StringBuilder name = new();
        for (_position++; _position < _text.Length; _position++)
        {
            char c = _text[_position];
            if (c == '}')
            {
                _position++;
                return SymbolicExpression.Symbol(name.ToString());
            }

            if (c == '\\' && ++_position == _text.Length)
            {
                return null;
            }

            name.Append(_text[_position]);
        }

        return null;
    }

    private SymbolicExpression? Number()
    {
        int start = _position;
        while (_position < _text.Length && IsLater(_text[_position]))
        {
            _position++;
        }

        return long.TryParse(_text.AsSpan(start, _position - start), NumberStyles.None, CultureInfo.InvariantCulture, out long value)
            ? SymbolicExpression.Of(value)
            : null;
    }

    private SymbolicExpression? Word()
    {
        int start = _position;
        while (_position < _text.Length && IsLater(_text[_position]))
        {
            _position++;
        }

        string word = _text[start.._position];
        return Take('(') ? Function(word) : SymbolicExpression.Symbol(word);
    }

    private SymbolicExpression? Function(string name)
    {
        if (name == "floor")
        {
            SymbolicExpression? dividend = Factor();
            return Take('/') && Factor() is SymbolicExpression divisor && Take(')') ? SymbolicExpression.FloorDivide(dividend, divisor) : null;
        }

        SymbolicExpression? first = Sum();

        Func<SymbolicExpression?, SymbolicExpression?, SymbolicExpression?>? function = name switch
        {
            "min" => SymbolicExpression.Min,
            "max" => SymbolicExpression.Max,
            "broadcast" => SymbolicExpression.Broadcast,
            _ => null,
        };
        if (function is null)
        {
            return null;
        }

        while (first is not null && Take(','))
        {
            first = function(first, Sum());
        }

        return Take(')') ? first : null;
    }

    private bool Take(char c)
    {
        SkipSpace();
        if (_position == _text.Length || _text[_position] != c)
        {
            return false;
        }

        _position++;
        return true;
    }

    private bool Peek(string token)
    {
        SkipSpace();
        return string.CompareOrdinal(_text, _position, token, 0, token.Length) == 0;
    }

    private void SkipSpace()
    {
        while (_position < _text.Length && _text[_position] == ' ')
        {
            _position++;
        }
    }
}
