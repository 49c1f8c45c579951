using System.Numerics;

namespace OrtQLoRA.Graph.Inference;

/// <content>Division, minimum, maximum, broadcasting; substitution and evaluation.</content>
public sealed partial class SymbolicExpression
{
    /// <summary>The quotient if the divisor divides the expression for every value of the symbols (zero divisors aside), else null.</summary>
    public static SymbolicExpression? DivideExactly(SymbolicExpression? dividend, SymbolicExpression? divisor)
    {
        if (dividend is null || divisor is null || divisor._terms.Length == 0)
        {
            return null;
        }

        SymbolicExpression? quotient = Zero;
        SymbolicExpression? rest = dividend;
        Term lead = divisor._terms[0];
        for (int step = 0; rest is { _terms.Length: > 0 }; step++)
        {
            Term next = rest._terms[0];
            if (step >= MaxTerms || next.Coefficient == long.MinValue || next.Coefficient % lead.Coefficient != 0 || next.Monomial.DividedBy(lead.Monomial) is not SymbolicMonomial monomial)
            {
                return null;
            }

            SymbolicExpression part = new([new Term(monomial, next.Coefficient / lead.Coefficient)]);
            quotient += part;
            rest -= part * divisor;
        }

        return rest is null ? null : quotient;
    }

    /// <summary>The quotient rounded towards negative infinity; null if an operand is unknown or the divisor may not be positive.</summary>
    public static SymbolicExpression? FloorDivide(SymbolicExpression? dividend, SymbolicExpression? divisor)
    {
        if (dividend is null || divisor is null || divisor.LowerBound is null or < 0 || divisor._terms.Length == 0)
        {
            return null;
        }

        if (DivideExactly(dividend, divisor) is SymbolicExpression quotient)
        {
            return quotient;
        }

        if (divisor.Constant is not long number)
        {
            BigInteger common = dividend._terms.Concat(divisor._terms).Aggregate(BigInteger.Zero, (g, t) => BigInteger.GreatestCommonDivisor(g, t.Coefficient));
            SymbolicExpression factor = common <= long.MaxValue ? Of((long)common) : One;
            return DivideExactly(dividend, factor) is SymbolicExpression a && DivideExactly(divisor, factor) is SymbolicExpression b
                ? Limit(FromAtom(SymbolicAtom.FloorDivision(a, b)))
                : null;
        }

        // floor((n*q + r) / n) = q + floor(r / n) with whole q.
        SymbolicExpression? whole = Collect(dividend._terms.Select(t => t with { Coefficient = FloorQuotient(t.Coefficient, number) }));
        SymbolicExpression? rest = dividend - (whole * divisor);
        return rest is null ? null
            : rest.Constant is not null ? whole
            : whole + Limit(FromAtom(SymbolicAtom.FloorDivision(rest, divisor)));
    }

    /// <summary>The lesser, or null if an operand is unknown.</summary>
    public static SymbolicExpression? Min(SymbolicExpression? left, SymbolicExpression? right) => Extremum(SymbolicAtomKind.Minimum, left, right);

    /// <summary>The greater, or null if an operand is unknown.</summary>
    public static SymbolicExpression? Max(SymbolicExpression? left, SymbolicExpression? right) => Extremum(SymbolicAtomKind.Maximum, left, right);

    /// <summary>
    /// The dimension that broadcasting makes of two, provided that it is allowed: they are equal or one of them is 1.
    /// </summary>
    public static SymbolicExpression? Broadcast(SymbolicExpression? left, SymbolicExpression? right)
    {
        // A dimension that is known not to be 1 is the result, whatever the other is.
        if (left is { Constant: not null and not 1 } or { LowerBound: > 1 })
        {
            return left;
        }

        if (right is { Constant: not null and not 1 } or { LowerBound: > 1 })
        {
            return right;
        }

        if (left is null || right is null)
        {
            return null;
        }

        if (left.Equals(right) || left.Constant == 1 || IsClippedFrom(left, right))
        {
            return right;
        }

        if (right.Constant == 1 || IsClippedFrom(right, left))
        {
            return left;
        }

        SymbolicExpression[] operands = Operands(SymbolicAtomKind.Broadcast, left, right);
        return operands.Length == 1 ? operands[0] : Limit(FromAtom(SymbolicAtom.Function(SymbolicAtomKind.Broadcast, [.. operands])));
    }

    /// <summary>
    /// Replaces factors, each given by its canonical text (for most symbols the name; for a function the whole
    /// call); the replacement may be null to keep one.
    /// </summary>
    /// <returns>Null if the result outgrows the limits.</returns>
    public SymbolicExpression? Substitute(Func<string, SymbolicExpression?> replacement)
    {
        SymbolicExpression? sum = Zero;
        foreach (Term term in _terms)
        {
            SymbolicExpression? product = Of(term.Coefficient);
            foreach (SymbolicAtom atom in term.Monomial.Factors)
            {
                product *= Substitute(atom, replacement);
            }

            sum += product;
        }

        return sum;
    }

    /// <summary>The number that the expression has for given values of its symbols, each given by its canonical text.</summary>
    /// <returns>Null if a symbol has no value.</returns>
    public long? Evaluate(Func<string, long?> valueOf) => Substitute(symbol => valueOf(symbol) is long value ? Of(value) : null)?.Constant;

    private static SymbolicExpression? Substitute(SymbolicAtom atom, Func<string, SymbolicExpression?> replacement)
    {
        if (replacement(atom.Text) is SymbolicExpression other)
        {
            return other;
        }

        if (atom.Kind == SymbolicAtomKind.Symbol)
        {
            return FromAtom(atom);
        }

        SymbolicExpression?[] operands = [.. atom.Operands.Select(o => o.Substitute(replacement))];
        return atom.Kind switch
        {
            SymbolicAtomKind.FloorDivision => FloorDivide(operands[0], operands[1]),
            SymbolicAtomKind.Minimum => operands.Aggregate(Min),
            SymbolicAtomKind.Maximum => operands.Aggregate(Max),
            _ => operands.Aggregate(Broadcast),
        };
    }

    private static SymbolicExpression? Extremum(SymbolicAtomKind kind, SymbolicExpression? left, SymbolicExpression? right)
    {
        if (left is null || right is null)
        {
            return null;
        }

        List<SymbolicExpression> kept = [];
        foreach (SymbolicExpression operand in Operands(kind, left, right))
        {
            if (kept.Exists(k => Absorbs(k, operand)))
            {
                continue;
            }

            kept.RemoveAll(k => Absorbs(operand, k));
            kept.Add(operand);
        }

        return kept.Count == 1 ? kept[0] : Limit(FromAtom(SymbolicAtom.Function(kind, [.. kept])));

        bool Absorbs(SymbolicExpression winner, SymbolicExpression other) =>
            (kind == SymbolicAtomKind.Minimum ? other - winner : winner - other)?.LowerBound >= 0;
    }

    private static SymbolicExpression[] Operands(SymbolicAtomKind kind, SymbolicExpression left, SymbolicExpression right)
    {
        SymbolicExpression[] operands = [.. Flatten(left).Concat(Flatten(right)).Distinct()];
        Array.Sort(operands, (a, b) => string.CompareOrdinal(a.ToString(), b.ToString()));
        return operands;

        IEnumerable<SymbolicExpression> Flatten(SymbolicExpression e) => e.SingleAtom is SymbolicAtom atom && atom.Kind == kind ? atom.Operands : [e];
    }

    // min(s, 512) beside s, as when a table of 512 positions is cut to the sequence: a valid broadcast has the size s,
    // for either s is at most 512 and both are equal, or the broadcast would fail.
    private static bool IsClippedFrom(SymbolicExpression clipped, SymbolicExpression whole) =>
        clipped.SingleAtom is { Kind: SymbolicAtomKind.Minimum } atom
        && atom.Operands.Contains(whole)
        && atom.Operands.All(o => o.Equals(whole) || o.LowerBound >= 1);

    private static long FloorQuotient(long dividend, long positiveDivisor)
    {
        (long quotient, long remainder) = Math.DivRem(dividend, positiveDivisor);
        return remainder < 0 ? quotient - 1 : quotient;
    }
}
