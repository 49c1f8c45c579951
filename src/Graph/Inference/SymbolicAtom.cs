using System.Collections.Immutable;

namespace OrtQLoRA.Graph.Inference;

/// <summary>
/// A factor of a <see cref="SymbolicExpression"/> that does not split further: a symbol, or a function whose
/// operands are expressions. Atoms stand for dimensions and are equal if their canonical texts are.
/// </summary>
internal sealed class SymbolicAtom : IComparable<SymbolicAtom>
{
    private SymbolicAtom(SymbolicAtomKind kind, string text, ImmutableArray<SymbolicExpression> operands)
    {
        Kind = kind;
        Text = text;
        Operands = operands;
    }

    internal SymbolicAtomKind Kind { get; }

    /// <summary>Canonical text.</summary>
    internal string Text { get; }

    internal ImmutableArray<SymbolicExpression> Operands { get; }

    /// <summary>A number that the atom never falls below, or null. Symbols name dimensions, which are never negative.</summary>
    internal long? LowerBound => Kind switch
    {
        SymbolicAtomKind.Symbol or SymbolicAtomKind.Broadcast => 0,
        SymbolicAtomKind.FloorDivision => Operands[0].LowerBound >= 0 && Operands[1].LowerBound >= 0 ? 0 : null,
        SymbolicAtomKind.Minimum => Operands.Any(o => o.LowerBound is null) ? null : Operands.Min(o => o.LowerBound),
        _ => Operands.Max(o => o.LowerBound),
    };

    /// <summary>A number that the atom never exceeds, or null.</summary>
    internal long? UpperBound => Kind switch
    {
        SymbolicAtomKind.Minimum => Operands.Min(o => o.UpperBound),
        SymbolicAtomKind.Maximum => Operands.Any(o => o.UpperBound is null) ? null : Operands.Max(o => o.UpperBound),
        _ => null,
    };

    /// <inheritdoc/>
    public int CompareTo(SymbolicAtom? other) => string.CompareOrdinal(Text, other?.Text);

    /// <inheritdoc/>
    public override string ToString() => Text;

    internal static SymbolicAtom Symbol(string name) => new(SymbolicAtomKind.Symbol, SymbolicSyntax.Quote(name), []);

    internal static SymbolicAtom FloorDivision(SymbolicExpression dividend, SymbolicExpression divisor) =>
        new(SymbolicAtomKind.FloorDivision, $"floor({Grouped(dividend)}/{Grouped(divisor)})", [dividend, divisor]);

    /// <summary>A commutative function of operands that the caller has ordered and freed of duplicates.</summary>
    internal static SymbolicAtom Function(SymbolicAtomKind kind, ImmutableArray<SymbolicExpression> operands) =>
        new(kind, $"{SymbolicSyntax.FunctionName(kind)}({string.Join(", ", operands)})", operands);

    private static string Grouped(SymbolicExpression expression)
    {
        string text = expression.ToString();
        return expression.IsSingleFactor ? text : $"({text})";
    }
}
