namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>Variables of a block; those of the blocks around it can be seen but not set.</summary>
internal sealed class JinjaScope
{
    private readonly JinjaScope? _parent;
    private readonly Dictionary<string, object?> _variables = new(StringComparer.Ordinal);

    internal JinjaScope(JinjaScope? parent, JinjaOutput output)
    {
        _parent = parent;
        Output = output;
    }

    /// <summary>Where text goes.</summary>
    internal JinjaOutput Output { get; }

    internal object? this[string name]
    {
        set => _variables[name] = value;
    }

    internal object? Find(string name) => _variables.TryGetValue(name, out object? value) ? value
        : _parent is null ? JinjaUndefined.Of(name) : _parent.Find(name);

    /// <summary>A block inside this one.</summary>
    internal JinjaScope Inner(JinjaOutput? output = null) => new(this, output ?? Output);
}
