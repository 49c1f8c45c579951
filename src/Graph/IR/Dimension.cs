namespace OrtQLoRA.Graph.IR;

/// <summary>
/// One dimension of a shape: a number, a symbol, or unknown. A symbol is a canonical expression such as
/// <c>batch</c> or <c>batch*sequence</c>; two dimensions with the same symbol are equal at run time.
/// </summary>
public readonly record struct Dimension
{
    private Dimension(long? value, string? symbol)
    {
        Value = value;
        Symbol = symbol;
    }

    /// <summary>A dimension of which nothing is known.</summary>
    public static Dimension Unknown => default;

    /// <summary>The number, if known.</summary>
    public long? Value { get; }

    /// <summary>The symbol, if the number is not known but the name is.</summary>
    public string? Symbol { get; }

    /// <summary>Whether the number is known.</summary>
    public bool IsKnown => Value is not null;

    /// <summary>Whether neither number nor symbol is known.</summary>
    public bool IsUnknown => Value is null && Symbol is null;

    /// <summary>A known dimension.</summary>
    public static Dimension Of(long value) => new(value, null);

    /// <summary>A symbolic dimension; an empty symbol is unknown.</summary>
    public static Dimension Of(string? symbol) => new(null, string.IsNullOrEmpty(symbol) ? null : symbol);

    /// <summary>A known dimension.</summary>
    public static implicit operator Dimension(long value) => Of(value);

    /// <summary>Whether both are certain to be equal at run time.</summary>
    public bool IsSameAs(Dimension other) => !IsUnknown && this == other;

    /// <inheritdoc/>
    public override string ToString() => Value?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? Symbol ?? "?";
}
