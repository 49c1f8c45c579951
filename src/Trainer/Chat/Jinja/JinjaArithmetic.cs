namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>Operators on numbers, texts and lists.</summary>
internal static class JinjaArithmetic
{
    internal static object? Apply(string symbol, object? a, object? b)
    {
        switch (symbol)
        {
            case "~":
                return JinjaText.Of(a) + JinjaText.Of(b);
            case "+" when a is string x && b is string y:
                return x + y;
            case "+" when a is IList<object?> x && b is IList<object?> y:
                return (List<object?>)[.. x, .. y];
            case "*" when a is string x && b is long n:
                return Repeated(x, n);
            case "%" when a is string format:
                return format.Replace("%s", JinjaText.Of(b), StringComparison.Ordinal);
        }

        if (!JinjaValues.IsNumber(a) || !JinjaValues.IsNumber(b))
        {
            throw new JinjaException($"The chat template computes {Shown(a)} {symbol} {Shown(b)}, which has no meaning.");
        }

        return a is long i && b is long j ? Whole(symbol, i, j) : Fraction(symbol, JinjaValues.ToDouble(a), JinjaValues.ToDouble(b));
    }

    private static string Shown(object? value) => value is JinjaUndefined undefined ? $"'{undefined.Name}' (not set)" : JinjaText.Json(value);

    private static string Repeated(string text, long times) => times * text.Length <= 1 << 20
        ? string.Concat(Enumerable.Repeat(text, (int)Math.Max(times, 0)))
        : throw new JinjaException($"The chat template repeats a text {times} times.");

    private static object Whole(string symbol, long a, long b)
    {
        if (b == 0 && (symbol is "/" or "//" or "%"))
        {
            throw new JinjaException("The chat template divides by zero.");
        }

        return symbol switch
        {
            "+" => (object)(a + b),
            "-" => a - b,
            "*" => a * b,
            "/" => (double)a / b,
            "//" => (long)Math.Floor((double)a / b),
            "%" => ((a % b) + b) % b,
            _ => (long)Math.Pow(a, b),
        };
    }

    private static object Fraction(string symbol, double a, double b) => symbol switch
    {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        "//" => Math.Floor(a / b),
        "%" => a - (b * Math.Floor(a / b)),
        _ => Math.Pow(a, b),
    };
}
