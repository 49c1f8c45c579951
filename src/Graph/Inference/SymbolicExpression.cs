using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference;

/// <summary>
/// An integer polynomial over dimensions that have a name but no number, in canonical form: equal expressions
/// print alike, and <see cref="Dimension.Symbol"/> holds that print. Besides names, factors may be floor
/// divisions, minima, maxima and broadcasts that do not simplify.
/// </summary>
/// <remarks>
/// Arithmetic takes and returns null for "unknown", which is also the result of an overflow of 64 bits and of an
/// expression that outgrows <see cref="MaxTerms"/>: a model cannot make inference slow by growing expressions.
/// </remarks>
public sealed partial class SymbolicExpression : IEquatable<SymbolicExpression>
{
    /// <summary>Most terms that an expression may have.</summary>
    public const int MaxTerms = 24;

    private const int MaxTextLength = 400;
    private readonly ImmutableArray<Term> _terms;
    private string? _text;

    private SymbolicExpression(ImmutableArray<Term> sortedTerms)
    {
        _terms = sortedTerms;
    }

    /// <summary>The number 0.</summary>
    public static SymbolicExpression Zero { get; } = new([]);

    /// <summary>The number 1.</summary>
    public static SymbolicExpression One { get; } = Of(1);

    /// <summary>The number, if the expression has no symbols.</summary>
    public long? Constant => _terms.Length switch
    {
        0 => 0,
        1 when _terms[0].Monomial.Degree == 0 => _terms[0].Coefficient,
        _ => null,
    };

    /// <summary>Canonical text of all symbols, functions' operands included, each once.</summary>
    public IEnumerable<string> Symbols => Atoms.SelectMany(a => a.Kind == SymbolicAtomKind.Symbol ? [a.Text] : a.Operands.SelectMany(o => o.Symbols)).Distinct();

    /// <summary>A number that the expression never falls below, dimensions being at least 0; null if none is known.</summary>
    public long? LowerBound => Bound(lower: true);

    /// <summary>A number that the expression never exceeds; null if none is known.</summary>
    public long? UpperBound => Bound(lower: false);

    /// <summary>Whether the print needs no parentheses as a factor.</summary>
    internal bool IsSingleFactor => _terms.Length == 0 || (_terms.Length == 1 && _terms[0].Coefficient >= 0
        && (_terms[0].Monomial.Degree == 0 || (_terms[0].Monomial.Degree == 1 && _terms[0].Coefficient == 1)));

    /// <summary>The only atom, if the expression is one atom and nothing else.</summary>
    internal SymbolicAtom? SingleAtom => _terms is [{ Coefficient: 1, Monomial.Factors: [SymbolicAtom atom] }] ? atom : null;

    private IEnumerable<SymbolicAtom> Atoms => _terms.SelectMany(t => t.Monomial.Factors);

    /// <summary>A number.</summary>
    public static SymbolicExpression Of(long value) => value == 0 ? Zero : new([new Term(SymbolicMonomial.One, value)]);

    /// <summary>A dimension with a name; names that are no identifiers print in braces.</summary>
    public static SymbolicExpression Symbol(string name) => FromAtom(SymbolicAtom.Symbol(name));

    /// <summary>The expression of a dimension, or null if nothing is known of it.</summary>
    public static SymbolicExpression? From(Dimension dimension) => dimension switch
    {
        { Value: long value } => Of(value),
        { Symbol: string symbol } => SymbolicSyntax.ParseOrQuote(symbol),
        _ => null,
    };

    /// <summary>Sum.</summary>
    public static SymbolicExpression? operator +(SymbolicExpression? left, SymbolicExpression? right) => Add(left, right);

    /// <summary>Difference.</summary>
    public static SymbolicExpression? operator -(SymbolicExpression? left, SymbolicExpression? right) => Subtract(left, right);

    /// <summary>Product.</summary>
    public static SymbolicExpression? operator *(SymbolicExpression? left, SymbolicExpression? right) => Multiply(left, right);

    /// <summary>Negation.</summary>
    public static SymbolicExpression? operator -(SymbolicExpression? operand) => Negate(operand);

    /// <summary>Sum, or null if an operand is unknown.</summary>
    public static SymbolicExpression? Add(SymbolicExpression? left, SymbolicExpression? right) =>
        left is null || right is null ? null : Collect(left._terms.Concat(right._terms));

    /// <summary>Difference, or null if an operand is unknown.</summary>
    public static SymbolicExpression? Subtract(SymbolicExpression? left, SymbolicExpression? right) => left + -right;

    /// <summary>Negation, or null if the operand is unknown.</summary>
    public static SymbolicExpression? Negate(SymbolicExpression? operand) => operand * Of(-1);

    /// <summary>Product, or null if an operand is unknown.</summary>
    public static SymbolicExpression? Multiply(SymbolicExpression? left, SymbolicExpression? right)
    {
        if (left is null || right is null)
        {
            return null;
        }

        try
        {
            return Collect(left._terms.SelectMany(l => right._terms.Select(
                r => new Term(l.Monomial.Times(r.Monomial), checked(l.Coefficient * r.Coefficient)))));
        }
        catch (OverflowException)
        {
            return null;
        }
    }

    /// <summary>The dimension with this number or symbol.</summary>
    public Dimension ToDimension() => Constant is long value ? Dimension.Of(value) : Dimension.Of(ToString());

    /// <inheritdoc/>
    public bool Equals(SymbolicExpression? other) => other is not null && (ReferenceEquals(this, other) || ToString() == other.ToString());

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as SymbolicExpression);

    /// <inheritdoc/>
    public override int GetHashCode() => ToString().GetHashCode(StringComparison.Ordinal);

    /// <inheritdoc/>
    public override string ToString() => _text ??= Print();

    internal static SymbolicExpression FromAtom(SymbolicAtom atom) => new([new Term(new SymbolicMonomial([atom]), 1)]);

    private static SymbolicExpression? Collect(IEnumerable<Term> terms)
    {
        try
        {
            Term[] sorted = [.. terms];
            Array.Sort(sorted, (a, b) => a.Monomial.CompareTo(b.Monomial));
            List<Term> collected = [];
            foreach (Term term in sorted)
            {
                if (collected.Count > 0 && collected[^1].Monomial.CompareTo(term.Monomial) == 0)
                {
                    collected[^1] = term with { Coefficient = checked(collected[^1].Coefficient + term.Coefficient) };
                }
                else
                {
                    collected.Add(term);
                }
            }

            collected.RemoveAll(t => t.Coefficient == 0);
            return collected.Count > MaxTerms ? null : Limit(new SymbolicExpression([.. collected]));
        }
        catch (OverflowException)
        {
            return null;
        }
    }

    private static SymbolicExpression? Limit(SymbolicExpression expression) =>
        expression._terms.Length > 0 && expression.ToString().Length > MaxTextLength ? null : expression;

    private long? Bound(bool lower)
    {
        try
        {
            long sum = 0;
            foreach (Term term in _terms)
            {
                long? product = ProductBound(term.Monomial, lower == term.Coefficient > 0);
                if (product is null)
                {
                    return null;
                }

                sum = checked(sum + (product.Value * term.Coefficient));
            }

            return sum;
        }
        catch (OverflowException)
        {
            return null;
        }
    }

    private static long? ProductBound(SymbolicMonomial monomial, bool lower)
    {
        long product = 1;
        foreach (SymbolicAtom atom in monomial.Factors)
        {
            // Bounds multiply only where no factor can be negative.
            if (atom.LowerBound is not >= 0 || (lower ? atom.LowerBound : atom.UpperBound) is not long bound)
            {
                return null;
            }

            product = checked(product * bound);
        }

        return product;
    }

    private string Print()
    {
        if (_terms.Length == 0)
        {
            return "0";
        }

        StringBuilder text = new();
        foreach (Term term in _terms)
        {
            bool negative = term.Coefficient < 0;
            text.Append((text.Length, negative) switch
            {
                (0, false) => "",
                (0, true) => "-",
                (_, true) => " - ",
                _ => " + ",
            });
            string magnitude = term.Coefficient.ToString(CultureInfo.InvariantCulture).TrimStart('-');
            text.Append(term.Monomial.Degree == 0 ? magnitude : magnitude == "1" ? term.Monomial.ToString() : $"{magnitude}*{term.Monomial}");
        }

        return text.ToString();
    }

    private readonly record struct Term(SymbolicMonomial Monomial, long Coefficient);
}
