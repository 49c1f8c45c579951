using System.Globalization;

namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>Reads expressions into functions of a scope, by descending through the levels of precedence.</summary>
internal sealed class JinjaExpressionParser
{
    private static readonly string[] Comparisons = ["==", "!=", "<=", ">=", "<", ">"];

    private readonly JinjaTokenStream _tokens;

    internal JinjaExpressionParser(JinjaTokenStream tokens)
    {
        _tokens = tokens;
    }

    /// <summary>An expression, a conditional one included.</summary>
    internal Func<JinjaScope, object?> Expression()
    {
        _tokens.Enter();
        Func<JinjaScope, object?> value = Or();
        while (_tokens.TryName("if"))
        {
            Func<JinjaScope, object?> then = value;
            Func<JinjaScope, object?> condition = Or();
            Func<JinjaScope, object?> otherwise = _tokens.TryName("else") ? Expression() : _ => JinjaUndefined.Of("else");
            value = s => JinjaValues.IsTrue(condition(s)) ? then(s) : otherwise(s);
        }

        _tokens.Leave();
        return value;
    }

    /// <summary>Expressions between commas as one list, or a single one.</summary>
    internal Func<JinjaScope, object?> ExpressionOrTuple()
    {
        Func<JinjaScope, object?> first = Expression();
        if (!_tokens.IsSymbol(","))
        {
            return first;
        }

        List<Func<JinjaScope, object?>> parts = [first];
        while (_tokens.TrySymbol(",") && _tokens.Current.Kind != JinjaTokenKind.TagEnd && !_tokens.IsSymbol(")"))
        {
            parts.Add(Expression());
        }

        return s => parts.Select(p => p(s)).ToList();
    }

    /// <summary>An expression without a conditional at its end: the list of a loop may be followed by <c>if</c>.</summary>
    internal Func<JinjaScope, object?> Or()
    {
        Func<JinjaScope, object?> left = And();
        while (_tokens.TryName("or"))
        {
            (Func<JinjaScope, object?> a, Func<JinjaScope, object?> b) = (left, And());
            left = s => a(s) is var value && JinjaValues.IsTrue(value) ? value : b(s);
        }

        return left;
    }

    /// <summary>Filters behind a block's tag.</summary>
    internal Func<JinjaScope, object?> Filters(Func<JinjaScope, object?> value)
    {
        do
        {
            string name = _tokens.Name();
            Func<object?, JinjaArguments, object?> filter = JinjaFilters.Find(name)
                ?? throw new JinjaException($"The chat template cannot be read: line {_tokens.Current.Line}: the filter '{name}' is not known.");
            Func<JinjaScope, JinjaArguments> arguments = _tokens.TrySymbol("(") ? Arguments() : _ => JinjaArguments.None;
            Func<JinjaScope, object?> filtered = value;
            value = s => filter(filtered(s), arguments(s));
        }
        while (_tokens.TrySymbol("|"));
        return value;
    }

    private Func<JinjaScope, object?> And()
    {
        Func<JinjaScope, object?> left = Not();
        while (_tokens.TryName("and"))
        {
            (Func<JinjaScope, object?> a, Func<JinjaScope, object?> b) = (left, Not());
            left = s => a(s) is var value && JinjaValues.IsTrue(value) ? b(s) : value;
        }

        return left;
    }

    private Func<JinjaScope, object?> Not()
    {
        if (!_tokens.TryName("not"))
        {
            return Comparison();
        }

        _tokens.Enter();
        Func<JinjaScope, object?> operand = Not();
        _tokens.Leave();
        return s => !JinjaValues.IsTrue(operand(s));
    }

    private Func<JinjaScope, object?> Comparison()
    {
        Func<JinjaScope, object?> left = Sum();
        while (true)
        {
            Func<JinjaScope, object?> a = left;
            if (_tokens.Current.Kind == JinjaTokenKind.Symbol && Comparisons.Contains(_tokens.Current.Text))
            {
                string symbol = _tokens.Take().Text;
                Func<JinjaScope, object?> b = Sum();
                left = s => Compare(symbol, a(s), b(s));
            }
            else if (_tokens.TryName("in"))
            {
                Func<JinjaScope, object?> b = Sum();
                left = s => JinjaValues.Contains(b(s), a(s));
            }
            else if (_tokens.IsName("not") && _tokens.Ahead is { Kind: JinjaTokenKind.Name, Text: "in" })
            {
                _tokens.Take();
                _tokens.Take();
                Func<JinjaScope, object?> b = Sum();
                left = s => !JinjaValues.Contains(b(s), a(s));
            }
            else
            {
                return left;
            }
        }
    }

    private static bool Compare(string symbol, object? a, object? b) => symbol switch
    {
        "==" => JinjaValues.AreEqual(a, b),
        "!=" => !JinjaValues.AreEqual(a, b),
        "<" => JinjaValues.Compare(a, b) < 0,
        ">" => JinjaValues.Compare(a, b) > 0,
        "<=" => JinjaValues.Compare(a, b) <= 0,
        _ => JinjaValues.Compare(a, b) >= 0,
    };

    private Func<JinjaScope, object?> Sum() => Chain(Joined, "+", "-");

    private Func<JinjaScope, object?> Joined() => Chain(Product, "~");

    private Func<JinjaScope, object?> Product() => Chain(Unary, "*", "/", "//", "%");

    private Func<JinjaScope, object?> Chain(Func<Func<JinjaScope, object?>> operand, params string[] symbols)
    {
        Func<JinjaScope, object?> left = operand();
        while (_tokens.Current.Kind == JinjaTokenKind.Symbol && symbols.Contains(_tokens.Current.Text))
        {
            string symbol = _tokens.Take().Text;
            (Func<JinjaScope, object?> a, Func<JinjaScope, object?> b) = (left, operand());
            left = s => JinjaArithmetic.Apply(symbol, a(s), b(s));
        }

        return left;
    }

    private Func<JinjaScope, object?> Unary()
    {
        if (_tokens.TrySymbol("-"))
        {
            _tokens.Enter();
            Func<JinjaScope, object?> operand = Unary();
            _tokens.Leave();
            return s => JinjaArithmetic.Apply("-", 0L, operand(s));
        }

        Func<JinjaScope, object?> value = Power();
        while (true)
        {
            if (_tokens.TrySymbol("|"))
            {
                value = Filters(value);
            }
            else if (_tokens.TryName("is"))
            {
                value = Test(value);
            }
            else
            {
                return value;
            }
        }
    }

    private Func<JinjaScope, object?> Power()
    {
        Func<JinjaScope, object?> value = Postfix();
        if (!_tokens.TrySymbol("**"))
        {
            return value;
        }

        Func<JinjaScope, object?> exponent = Unary();
        return s => JinjaArithmetic.Apply("**", value(s), exponent(s));
    }

    private Func<JinjaScope, object?> Test(Func<JinjaScope, object?> value)
    {
        bool negated = _tokens.TryName("not");
        string name = _tokens.Name();
        Func<JinjaScope, JinjaArguments> arguments = _ => JinjaArguments.None;
        bool takesOne = name is "divisibleby" or "equalto" or "eq" or "ne" or "sameas" or "in" or "gt" or "lt" or "ge" or "le";
        if (_tokens.TrySymbol("("))
        {
            arguments = Arguments();
        }
        else if (takesOne)
        {
            Func<JinjaScope, object?> operand = Postfix();
            arguments = s => new JinjaArguments([operand(s)], JinjaArguments.None.Named);
        }

        return s => JinjaTests.Apply(name, value(s), arguments(s).Positional) != negated;
    }

    private Func<JinjaScope, object?> Postfix()
    {
        Func<JinjaScope, object?> value = Primary();
        while (true)
        {
            Func<JinjaScope, object?> target = value;
            if (_tokens.TrySymbol("."))
            {
                string name = _tokens.Current.Kind == JinjaTokenKind.Number ? _tokens.Take().Text : _tokens.Name();
                value = long.TryParse(name, CultureInfo.InvariantCulture, out long index)
                    ? s => JinjaMethods.Element(target(s), index)
                    : s => JinjaMethods.Member(target(s), name);
            }
            else if (_tokens.TrySymbol("["))
            {
                value = Index(target);
            }
            else if (_tokens.TrySymbol("("))
            {
                Func<JinjaScope, JinjaArguments> arguments = Arguments();
                int line = _tokens.Current.Line;
                value = s => Call(s, target(s), arguments(s), line);
            }
            else
            {
                return value;
            }
        }
    }

    private static object? Call(JinjaScope scope, object? target, JinjaArguments arguments, int line)
    {
        scope.Output.Step();
        return target is JinjaFunction function
            ? function(arguments)
            : throw new JinjaException($"The chat template calls {(target is JinjaUndefined undefined ? $"'{undefined.Name}', which is not known" : "what is no function")} (line {line}).");
    }

    private Func<JinjaScope, object?> Index(Func<JinjaScope, object?> target)
    {
        Func<JinjaScope, object?>? start = _tokens.IsSymbol(":") ? null : Expression();
        if (_tokens.TrySymbol("]"))
        {
            return s => JinjaMethods.Element(target(s), start!(s));
        }

        _tokens.Symbol(":");
        Func<JinjaScope, object?>? stop = _tokens.IsSymbol("]") || _tokens.IsSymbol(":") ? null : Expression();
        Func<JinjaScope, object?>? step = _tokens.TrySymbol(":") && !_tokens.IsSymbol("]") ? Expression() : null;
        _tokens.Symbol("]");
        return s => JinjaMethods.Slice(target(s), Number(start, s), Number(stop, s), Number(step, s) ?? 1);
    }

    private static long? Number(Func<JinjaScope, object?>? part, JinjaScope scope) => part?.Invoke(scope) is { } value ? (long)JinjaValues.ToDouble(value) : null;

    private Func<JinjaScope, JinjaArguments> Arguments()
    {
        List<Func<JinjaScope, object?>> positional = [];
        List<(string Name, Func<JinjaScope, object?> Value)> named = [];
        while (!_tokens.TrySymbol(")"))
        {
            if (_tokens.Current.Kind == JinjaTokenKind.Name && _tokens.Ahead is { Kind: JinjaTokenKind.Symbol, Text: "=" })
            {
                string name = _tokens.Name();
                _tokens.Symbol("=");
                named.Add((name, Expression()));
            }
            else
            {
                positional.Add(Expression());
            }

            if (!_tokens.IsSymbol(")"))
            {
                _tokens.Symbol(",");
            }
        }

        return s => new JinjaArguments([.. positional.Select(p => p(s))], named.ToDictionary(n => n.Name, n => n.Value(s)));
    }

    private Func<JinjaScope, object?> Primary()
    {
        JinjaToken token = _tokens.Current;
        switch (token.Kind)
        {
            case JinjaTokenKind.String:
                string text = "";
                while (_tokens.Current.Kind == JinjaTokenKind.String)
                {
                    text += _tokens.Take().Text;
                }

                return _ => text;
            case JinjaTokenKind.Number:
                _tokens.Take();
                object number = long.TryParse(token.Text, CultureInfo.InvariantCulture, out long whole) ? (object)whole : double.Parse(token.Text, CultureInfo.InvariantCulture);
                return _ => number;
            case JinjaTokenKind.Name:
                _tokens.Take();
                return Named(token.Text);
            case JinjaTokenKind.Symbol when _tokens.TrySymbol("("):
                Func<JinjaScope, object?> inner = _tokens.IsSymbol(")") ? _ => new List<object?>() : ExpressionOrTuple();
                _tokens.Symbol(")");
                return inner;
            case JinjaTokenKind.Symbol when _tokens.TrySymbol("["):
                return List();
            case JinjaTokenKind.Symbol when _tokens.TrySymbol("{"):
                return Map();
            default:
                throw _tokens.Expected("a value");
        }
    }

    private static Func<JinjaScope, object?> Named(string name) => name switch
    {
        "true" or "True" => _ => true,
        "false" or "False" => _ => false,
        "none" or "None" => _ => null,
        _ => s => s.Find(name),
    };

    private Func<JinjaScope, object?> List()
    {
        List<Func<JinjaScope, object?>> items = [];
        while (!_tokens.TrySymbol("]"))
        {
            items.Add(Expression());
            if (!_tokens.IsSymbol("]"))
            {
                _tokens.Symbol(",");
            }
        }

        return s => items.Select(i => i(s)).ToList();
    }

    private Func<JinjaScope, object?> Map()
    {
        List<(Func<JinjaScope, object?> Key, Func<JinjaScope, object?> Value)> entries = [];
        while (!_tokens.TrySymbol("}"))
        {
            Func<JinjaScope, object?> key = Expression();
            _tokens.Symbol(":");
            entries.Add((key, Expression()));
            if (!_tokens.IsSymbol("}"))
            {
                _tokens.Symbol(",");
            }
        }

        return s =>
        {
            OrderedDictionary<string, object?> map = new();
            foreach ((Func<JinjaScope, object?> key, Func<JinjaScope, object?> value) in entries)
            {
                map[JinjaText.Of(key(s))] = value(s);
            }

            return map;
        };
    }
}
