using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference;

/// <summary>Brings the symbols of graph inputs into canonical form.</summary>
internal static class InputSymbols
{
    // What some exporters write for "not known"; two of these need not be equal.
    private static readonly HashSet<string> Placeholders = new(["?", "*", "-1", "None", "none", "unknown", "unk", "dynamic"], StringComparer.Ordinal);

    /// <summary>
    /// Rewrites the symbols of all inputs: expressions over names that other dimensions bear alone
    /// (<c>past + sequence</c>) are read as expressions, other texts as names; dimensions without a name get one.
    /// </summary>
    /// <returns>Whether any type changed.</returns>
    internal static bool Canonicalise(OnnxGraph graph)
    {
        HashSet<string> names = [.. graph.Inputs.Where(i => i.Shape is not null).SelectMany(i => i.Shape!).Select(d => d.Symbol ?? "").Where(SymbolicSyntax.IsIdentifier)];
        bool changed = false;
        foreach (Value input in graph.Inputs.Where(i => i.Shape is not null))
        {
            Shape canonical = new(input.Shape!.Select((d, axis) => Canonical(d, $"{input.Name}#{axis}", names)));
            if (!canonical.Equals(input.Shape))
            {
                input.Type = new OnnxType.Tensor(input.ElementType, canonical);
                changed = true;
            }
        }

        return changed;
    }

    private static Dimension Canonical(Dimension dimension, string ownName, HashSet<string> names)
    {
        if (dimension.IsKnown)
        {
            return dimension.Value >= 0 ? dimension : SymbolicExpression.Symbol(ownName).ToDimension();
        }

        if (dimension.Symbol is not string symbol || Placeholders.Contains(symbol))
        {
            return SymbolicExpression.Symbol(ownName).ToDimension();
        }

        bool isCanonicalAlready = symbol[0] == '{' && SymbolicSyntax.Parse(symbol) is not null;
        return SymbolicSyntax.Parse(symbol) is SymbolicExpression parsed && (isCanonicalAlready || parsed.Symbols.All(names.Contains))
            ? parsed.ToDimension()
            : SymbolicExpression.Symbol(symbol).ToDimension();
    }
}
