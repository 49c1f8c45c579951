using System.Text;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>
/// Rewrites what Oniguruma's (and Rust's) regular expressions have and .NET's have not: possessive quantifiers
/// (<c>a++</c> is <c>(?&gt;a+)</c>), classes without others (<c>[a&amp;&amp;[^b]]</c> is <c>[a-[b]]</c>) and the names of scripts.
/// </summary>
internal static class RegexSyntax
{
    private static readonly Dictionary<string, string> Scripts = new(StringComparer.Ordinal)
    {
        ["Han"] = @"\u2E80-\u2E99\u2E9B-\u2EF3\u2F00-\u2FD5\u3005\u3007\u3021-\u3029\u3038-\u303B\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFA6D\uFA70-\uFAD9",
        ["Hiragana"] = @"\u3041-\u3096\u309D-\u309F",
        ["Katakana"] = @"\u30A1-\u30FA\u30FD-\u30FF\u31F0-\u31FF\u32D0-\u32FE\u3300-\u3357\uFF66-\uFF6F\uFF71-\uFF9D",
        ["Hangul"] = @"\u1100-\u11FF\u302E\u302F\u3131-\u318E\u3200-\u321E\u3260-\u327E\uA960-\uA97C\uAC00-\uD7A3\uD7B0-\uD7C6\uD7CB-\uD7FB\uFFA0-\uFFBE\uFFC2-\uFFC7\uFFCA-\uFFCF\uFFD2-\uFFD7\uFFDA-\uFFDC",
        ["Thai"] = @"\u0E01-\u0E3A\u0E40-\u0E5B",
        ["Cyrillic"] = @"\u0400-\u0484\u0487-\u052F\u1C80-\u1C88\u1D2B\u1D78\u2DE0-\u2DFF\uA640-\uA69F\uFE2E\uFE2F",
    };

    /// <summary>The expression in .NET's syntax; what is in neither stays, for .NET to refuse.</summary>
    public static string ToDotNet(string expression)
    {
        StringBuilder result = new(expression.Length);
        Stack<int> groups = new();
        int atom = 0;
        for (int i = 0; i < expression.Length;)
        {
            char c = expression[i];
            switch (c)
            {
                case '(':
                    groups.Push(result.Length);
                    result.Append(c);
                    i++;
                    break;
                case ')':
                    atom = groups.TryPop(out int start) ? start : 0;
                    result.Append(c);
                    i++;
                    break;
                case '*' or '+' or '?' or '{':
                    i = Quantifier(expression, i, result, atom);
                    break;
                default:
                    atom = result.Length;
                    i = c switch
                    {
                        '\\' => Escape(expression, i, result, isInClass: false),
                        '[' => Class(expression, i, result),
                        _ => Literal(expression, i, result),
                    };
                    break;
            }
        }

        return result.ToString();
    }

    private static int Literal(string expression, int i, StringBuilder result)
    {
        result.Append(expression[i]);
        return i + 1;
    }

    private static int Quantifier(string expression, int i, StringBuilder result, int atom)
    {
        // The question mark of a group's kind, as in (?: or (?i:, is no quantifier.
        if (expression[i] == '?' && i > 0 && expression[i - 1] == '(')
        {
            return Literal(expression, i, result);
        }

        int end = expression[i] == '{' ? expression.IndexOf('}', i) + 1 : i + 1;
        if (end == 0)
        {
            return Literal(expression, i, result);
        }

        result.Append(expression, i, end - i);
        if (end < expression.Length && expression[end] == '+')
        {
            // Behind braces a plus repeats in Oniguruma; behind other quantifiers it forbids going back.
            bool isCounted = expression[i] == '{';
            result.Insert(atom, isCounted ? "(?:" : "(?>").Append(isCounted ? ")+" : ")");
            return end + 1;
        }

        return end < expression.Length && expression[end] == '?' ? Literal(expression, end, result) : end;
    }

    private static int Escape(string expression, int i, StringBuilder result, bool isInClass)
    {
        if (i + 2 < expression.Length && expression[i + 1] is 'p' or 'P' && expression[i + 2] == '{' && expression.IndexOf('}', i) is > 0 and int close)
        {
            bool isNegated = expression[i + 1] == 'P' != (expression[i + 3] == '^');
            string name = expression[(i + 3)..close].TrimStart('^');
            string property = !Scripts.TryGetValue(name, out string? ranges) ? $@"\{(isNegated ? 'P' : 'p')}{{{name}}}"
                : isInClass && isNegated ? throw new ArgumentException($"the class at character {i} has all but a script, which has no counterpart in .NET.")
                : isInClass ? ranges
                : $"[{(isNegated ? "^" : "")}{ranges}]";
            result.Append(property);
            return close + 1;
        }

        int length = Math.Min(2, expression.Length - i);
        result.Append(expression, i, length);
        return i + length;
    }

    private static int Class(string expression, int i, StringBuilder result)
    {
        result.Append('[');
        i++;
        if (i < expression.Length && expression[i] == '^')
        {
            i = Literal(expression, i, result);
        }

        for (bool isFirst = true; i < expression.Length && (expression[i] != ']' || isFirst); isFirst = false)
        {
            if (expression.AsSpan(i).StartsWith("&&[^"))
            {
                result.Append("-[");
                i = ClassRest(expression, i + 4, result);
            }
            else
            {
                i = expression[i] == '\\' ? Escape(expression, i, result, isInClass: true)
                    : expression[i] == '[' ? Nested(expression, i, result)
                    : Literal(expression, i, result);
            }
        }

        result.Append(']');
        return Math.Min(expression.Length, i + 1);
    }

    // A bracket within a class opens one of its own in Oniguruma, where .NET takes it for a character.
    private static int Nested(string expression, int i, StringBuilder result)
    {
        int close = expression.IndexOf(']', i);
        if (close < 0 || (i + 1 < expression.Length && expression[i + 1] is '^' or ':'))
        {
            throw new ArgumentException($"the class within a class at character {i} has no counterpart in .NET.");
        }

        if (expression.IndexOf(']', close + 1) < 0)
        {
            result.Append(@"\[");
            return i + 1;
        }

        for (i++; i < close;)
        {
            i = expression[i] == '\\' ? Escape(expression, i, result, isInClass: true) : Literal(expression, i, result);
        }

        return close + 1;
    }

    private static int ClassRest(string expression, int i, StringBuilder result)
    {
        while (i < expression.Length && expression[i] != ']')
        {
            i = expression[i] == '\\' ? Escape(expression, i, result, isInClass: true) : Literal(expression, i, result);
        }

        result.Append(']');
        return Math.Min(expression.Length, i + 1);
    }
}
