using System.Collections.Immutable;

namespace OrtQLoRA.Graph.Inference;

/// <summary>A product of atoms, sorted, a power written as repetition. The empty product is 1.</summary>
internal readonly struct SymbolicMonomial : IComparable<SymbolicMonomial>
{
    private readonly ImmutableArray<SymbolicAtom> _factors;

    internal SymbolicMonomial(ImmutableArray<SymbolicAtom> sortedFactors)
    {
        _factors = sortedFactors;
    }

    internal static SymbolicMonomial One { get; } = new([]);

    internal ImmutableArray<SymbolicAtom> Factors => _factors;

    internal int Degree => _factors.Length;

    /// <summary>
    /// Graded lexicographic order, greatest first: an order that multiplication keeps, so that the leading terms
    /// of polynomials decide whether one divides the other.
    /// </summary>
    public int CompareTo(SymbolicMonomial other)
    {
        if (Degree != other.Degree)
        {
            return other.Degree.CompareTo(Degree);
        }

        for (int i = 0; i < Degree; i++)
        {
            int order = _factors[i].CompareTo(other._factors[i]);
            if (order != 0)
            {
                return order;
            }
        }

        return 0;
    }

    public override string ToString() => string.Join('*', _factors);

    internal SymbolicMonomial Times(SymbolicMonomial other)
    {
        if (Degree == 0 || other.Degree == 0)
        {
            return Degree == 0 ? other : this;
        }

        SymbolicAtom[] factors = [.. _factors, .. other._factors];
        Array.Sort(factors);
        return new SymbolicMonomial([.. factors]);
    }

    /// <summary>The quotient, or null if the other is no divisor.</summary>
    internal SymbolicMonomial? DividedBy(SymbolicMonomial divisor)
    {
        List<SymbolicAtom> rest = [.. _factors];
        foreach (SymbolicAtom factor in divisor._factors)
        {
            int position = rest.FindIndex(f => f.CompareTo(factor) == 0);
            if (position < 0)
            {
                return null;
            }

            rest.RemoveAt(position);
        }

        return new SymbolicMonomial([.. rest]);
    }
}
