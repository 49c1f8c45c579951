namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>Runs loops and keeps the variable <c>loop</c>.</summary>
internal static class JinjaLoop
{
    internal static JinjaFlow Run(IReadOnlyList<object?> items, JinjaScope outer, Func<JinjaScope, object?, JinjaFlow> body)
    {
        for (int i = 0; i < items.Count; i++)
        {
            outer.Output.Step();
            JinjaScope scope = outer.Inner();
            scope["loop"] = Variable(items, i);
            if (body(scope, items[i]) == JinjaFlow.Break)
            {
                break;
            }
        }

        return JinjaFlow.Next;
    }

    private static OrderedDictionary<string, object?> Variable(IReadOnlyList<object?> items, int i) => new()
    {
        ["index"] = (long)i + 1,
        ["index0"] = (long)i,
        ["revindex"] = (long)(items.Count - i),
        ["revindex0"] = (long)(items.Count - i - 1),
        ["first"] = i == 0,
        ["last"] = i == items.Count - 1,
        ["length"] = (long)items.Count,
        ["previtem"] = i == 0 ? JinjaUndefined.Of("loop.previtem") : items[i - 1],
        ["nextitem"] = i == items.Count - 1 ? JinjaUndefined.Of("loop.nextitem") : items[i + 1],
        ["cycle"] = (JinjaFunction)(a => a.Positional[i % a.Positional.Count]),
    };
}
