namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>
/// A template in the part of Jinja that tokenizer_config.json files use, rendered as Hugging Face's <c>apply_chat_template</c>
/// does. Nothing of the program can be reached from a template, and its cost is bounded.
/// </summary>
public sealed class JinjaTemplate
{
    private const long LongestRange = 1_000_000;

    private readonly Func<JinjaScope, JinjaFlow> _body;

    private JinjaTemplate(Func<JinjaScope, JinjaFlow> body)
    {
        _body = body;
    }

    /// <summary>Reads a template.</summary>
    /// <exception cref="JinjaException">It is malformed or uses what is not known; names the line.</exception>
    public static JinjaTemplate Parse(string source) => new(new JinjaStatementParser(JinjaLexer.Read(source)).Template());

    /// <summary>Renders the template.</summary>
    /// <param name="variables">Values: null, bool, long, double, string, <see cref="List{T}"/> of objects, or dictionaries by string.</param>
    /// <returns>The text, and its parts between <c>{% generation %}</c> tags, from and to which character.</returns>
    /// <exception cref="JinjaException">The template raised an exception or does something without meaning.</exception>
    public (string Text, IReadOnlyList<(int Start, int End)> Generated) Render(IReadOnlyDictionary<string, object?> variables)
    {
        JinjaOutput output = new();
        JinjaScope scope = new(Globals(output), output);
        foreach ((string name, object? value) in variables)
        {
            scope[name] = value;
        }

        _body(scope);
        return (output.Text, output.Generated);
    }

    private static JinjaScope Globals(JinjaOutput output)
    {
        JinjaScope scope = new(null, output);
        scope["namespace"] = (JinjaFunction)Map;
        scope["dict"] = (JinjaFunction)Map;
        scope["range"] = (JinjaFunction)Range;
        scope["raise_exception"] = (JinjaFunction)(a => throw new JinjaException($"The chat template refuses the conversation: {JinjaText.Of(a.Get(0, "message"))}"));
        return scope;
    }

    private static OrderedDictionary<string, object?> Map(JinjaArguments arguments)
    {
        OrderedDictionary<string, object?> map = new();
        IEnumerable<KeyValuePair<string, object?>> first = arguments.Positional.OfType<IDictionary<string, object?>>().SelectMany(d => d);
        foreach ((string name, object? value) in first.Concat(arguments.Named))
        {
            map[name] = value;
        }

        return map;
    }

    private static List<object?> Range(JinjaArguments arguments)
    {
        long[] bounds = [.. arguments.Positional.Select(v => (long)JinjaValues.ToDouble(v))];
        long start = bounds.Length > 1 ? bounds[0] : 0;
        long stop = bounds.Length > 1 ? bounds[1] : bounds.FirstOrDefault();
        long step = bounds.Length > 2 ? bounds[2] : 1;
        if (step == 0 || Math.Abs(stop - start) / Math.Abs(step) > LongestRange)
        {
            throw new JinjaException($"The chat template asks for range({string.Join(", ", bounds)}), which does not come to an end.");
        }

        List<object?> numbers = [];
        for (long i = start; step > 0 ? i < stop : i > stop; i += step)
        {
            numbers.Add(i);
        }

        return numbers;
    }
}
