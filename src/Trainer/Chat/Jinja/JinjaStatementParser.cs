namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>Reads text and statements into actions on a scope.</summary>
internal sealed class JinjaStatementParser
{
    private readonly JinjaTokenStream _tokens;
    private readonly JinjaExpressionParser _expressions;

    internal JinjaStatementParser(IReadOnlyList<JinjaToken> tokens)
    {
        _tokens = new JinjaTokenStream(tokens);
        _expressions = new JinjaExpressionParser(_tokens);
    }

    /// <summary>The whole template.</summary>
    internal Func<JinjaScope, JinjaFlow> Template()
    {
        Func<JinjaScope, JinjaFlow> body = Block();
        return _tokens.Current.Kind == JinjaTokenKind.End ? body : throw _tokens.Expected("the end of the template");
    }

    /// <summary>Text and statements up to one that ends or divides a block; that one is not taken, but for its beginning.</summary>
    private Func<JinjaScope, JinjaFlow> Block(params string[] ends)
    {
        _tokens.Enter();
        List<Func<JinjaScope, JinjaFlow>> parts = [];
        while (true)
        {
            JinjaToken token = _tokens.Current;
            if (token.Kind == JinjaTokenKind.Text)
            {
                _tokens.Take();
                parts.Add(s => Write(s, token.Text));
            }
            else if (token.Kind == JinjaTokenKind.ExpressionStart)
            {
                _tokens.Take();
                Func<JinjaScope, object?> value = _expressions.ExpressionOrTuple();
                _tokens.TagEnd();
                parts.Add(s => Write(s, JinjaText.Of(value(s))));
            }
            else if (token.Kind == JinjaTokenKind.StatementStart && !ends.Contains(_tokens.Ahead.Text))
            {
                _tokens.Take();
                parts.Add(Statement());
            }
            else if (token.Kind == JinjaTokenKind.End && ends.Length > 0)
            {
                throw _tokens.Expected($"{{% {ends[^1]} %}}");
            }
            else
            {
                _tokens.Leave();
                return s => Run(parts, s);
            }
        }
    }

    private static JinjaFlow Write(JinjaScope scope, string text)
    {
        scope.Output.Write(text);
        return JinjaFlow.Next;
    }

    private static JinjaFlow Run(List<Func<JinjaScope, JinjaFlow>> parts, JinjaScope scope)
    {
        foreach (Func<JinjaScope, JinjaFlow> part in parts)
        {
            scope.Output.Step();
            JinjaFlow flow = part(scope);
            if (flow != JinjaFlow.Next)
            {
                return flow;
            }
        }

        return JinjaFlow.Next;
    }

    private Func<JinjaScope, JinjaFlow> Statement()
    {
        string name = _tokens.Name();
        switch (name)
        {
            case "if":
                return If();
            case "for":
                return For();
            case "set":
                return Set();
            case "macro":
                return Macro();
            case "filter":
                return Filter();
            case "generation":
                _tokens.TagEnd();
                return Generation();
            case "break" or "continue":
                _tokens.TagEnd();
                JinjaFlow flow = name == "break" ? JinjaFlow.Break : JinjaFlow.Continue;
                return _ => flow;
            default:
                throw new JinjaException($"The chat template cannot be read: line {_tokens.Current.Line}: the statement '{name}' is not known.");
        }
    }

    private void End(string name)
    {
        _tokens.Take();
        _tokens.Keyword(name);
        _tokens.TagEnd();
    }

    private Func<JinjaScope, JinjaFlow> If()
    {
        List<(Func<JinjaScope, object?> Condition, Func<JinjaScope, JinjaFlow> Body)> branches = [];
        Func<JinjaScope, JinjaFlow> otherwise = _ => JinjaFlow.Next;
        while (true)
        {
            Func<JinjaScope, object?> condition = _expressions.Expression();
            _tokens.TagEnd();
            branches.Add((condition, Block("elif", "else", "endif")));
            if (_tokens.Ahead.Text == "elif")
            {
                _tokens.Take();
                _tokens.Take();
                continue;
            }

            if (_tokens.Ahead.Text == "else")
            {
                End("else");
                otherwise = Block("endif");
            }

            End("endif");
            return s =>
            {
                foreach ((Func<JinjaScope, object?> test, Func<JinjaScope, JinjaFlow> body) in branches)
                {
                    if (JinjaValues.IsTrue(test(s)))
                    {
                        return body(s);
                    }
                }

                return otherwise(s);
            };
        }
    }

    private List<string> Targets()
    {
        bool isBracketed = _tokens.TrySymbol("(");
        List<string> names = [_tokens.Name()];
        while (_tokens.TrySymbol(","))
        {
            names.Add(_tokens.Name());
        }

        if (isBracketed)
        {
            _tokens.Symbol(")");
        }

        return names;
    }

    private Func<JinjaScope, JinjaFlow> For()
    {
        List<string> names = Targets();
        _tokens.Keyword("in");
        Func<JinjaScope, object?> list = _expressions.Or();
        Func<JinjaScope, object?>? condition = _tokens.TryName("if") ? _expressions.Expression() : null;
        _tokens.TagEnd();
        Func<JinjaScope, JinjaFlow> body = Block("else", "endfor");
        Func<JinjaScope, JinjaFlow>? otherwise = null;
        if (_tokens.Ahead.Text == "else")
        {
            End("else");
            otherwise = Block("endfor");
        }

        End("endfor");
        return s =>
        {
            IReadOnlyList<object?> items = JinjaValues.Items(list(s));
            if (condition is not null)
            {
                items = [.. items.Where(i => JinjaValues.IsTrue(condition(Assigned(s.Inner(), names, i))))];
            }

            return items.Count == 0 ? otherwise?.Invoke(s) ?? JinjaFlow.Next : JinjaLoop.Run(items, s, (scope, item) => body(Assigned(scope, names, item)));
        };
    }

    private static JinjaScope Assigned(JinjaScope scope, List<string> names, object? value)
    {
        if (names.Count == 1)
        {
            scope[names[0]] = value;
            return scope;
        }

        IReadOnlyList<object?> parts = JinjaValues.Items(value);
        if (parts.Count != names.Count)
        {
            throw new JinjaException($"The chat template takes {names.Count} values ({string.Join(", ", names)}) out of {parts.Count}.");
        }

        for (int i = 0; i < names.Count; i++)
        {
            scope[names[i]] = parts[i];
        }

        return scope;
    }

    private Func<JinjaScope, JinjaFlow> Set()
    {
        string name = _tokens.Name();
        string? attribute = _tokens.TrySymbol(".") ? _tokens.Name() : null;
        List<string> names = [name];
        while (attribute is null && _tokens.TrySymbol(","))
        {
            names.Add(_tokens.Name());
        }

        Func<JinjaScope, object?> value;
        if (_tokens.TrySymbol("="))
        {
            value = _expressions.ExpressionOrTuple();
            _tokens.TagEnd();
        }
        else
        {
            _tokens.TagEnd();
            value = Captured(Block("endset"));
            End("endset");
        }

        return s =>
        {
            if (attribute is null)
            {
                Assigned(s, names, value(s));
            }
            else if (s.Find(name) is IDictionary<string, object?> space)
            {
                space[attribute] = value(s);
            }
            else
            {
                throw new JinjaException($"The chat template sets '{attribute}' of '{name}', which is no namespace.");
            }

            return JinjaFlow.Next;
        };
    }

    private static Func<JinjaScope, object?> Captured(Func<JinjaScope, JinjaFlow> body) => s =>
    {
        JinjaOutput output = new(s.Output);
        body(s.Inner(output));
        return output.Text;
    };

    private Func<JinjaScope, JinjaFlow> Filter()
    {
        Func<JinjaScope, object?> content = _ => "";
        Func<JinjaScope, object?> filtered = _expressions.Filters(s => content(s));
        _tokens.TagEnd();
        content = Captured(Block("endfilter"));
        End("endfilter");
        return s => Write(s, JinjaText.Of(filtered(s)));
    }

    private Func<JinjaScope, JinjaFlow> Generation()
    {
        Func<JinjaScope, JinjaFlow> body = Block("endgeneration");
        End("endgeneration");
        return s =>
        {
            int start = s.Output.Length;
            JinjaFlow flow = body(s);
            s.Output.Generated.Add((start, s.Output.Length));
            return flow;
        };
    }

    private Func<JinjaScope, JinjaFlow> Macro()
    {
        string name = _tokens.Name();
        _tokens.Symbol("(");
        List<(string Name, Func<JinjaScope, object?>? Default)> parameters = [];
        while (!_tokens.TrySymbol(")"))
        {
            string parameter = _tokens.Name();
            parameters.Add((parameter, _tokens.TrySymbol("=") ? _expressions.Expression() : null));
            if (!_tokens.IsSymbol(")"))
            {
                _tokens.Symbol(",");
            }
        }

        _tokens.TagEnd();
        Func<JinjaScope, JinjaFlow> body = Block("endmacro");
        End("endmacro");
        return s =>
        {
            s[name] = (JinjaFunction)(arguments =>
            {
                JinjaOutput output = new(s.Output);
                JinjaScope scope = s.Inner(output);
                for (int i = 0; i < parameters.Count; i++)
                {
                    object? missing = parameters[i].Default is { } otherwise ? otherwise(s) : JinjaUndefined.Of(parameters[i].Name);
                    scope[parameters[i].Name] = arguments.Get(i, parameters[i].Name, missing);
                }

                output.Enter();
                body(scope);
                output.Leave();
                return output.Text;
            });
            return JinjaFlow.Next;
        };
    }
}
