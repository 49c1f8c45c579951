using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y = einsum("x_0, x_1, ... -> out"): dx_i = einsum("out, the other operands -> x_i"), with dy in place of y. Indices that only
/// x_i has were summed away, and dx_i is broadcast along them.
/// </summary>
internal static class EinsumGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        (string[] operands, string output) = Parse(c);
        return c.ForEachNeeded(i => Operand(c, operands, output, i));
    }

    private static Value Operand(GradientContext c, string[] operands, string output, int index)
    {
        GraphBuilder b = c.Builder;
        string wanted = operands[index];
        if (wanted.Distinct().Count() != wanted.Length)
        {
            throw c.Unsupported(
                $"operand {index} ('{wanted}') uses an index twice (a diagonal) in '{c.Node.GetString("equation", "")}'",
                "Take the diagonal by other operators before the Einsum.");
        }

        List<string> terms = [output];
        List<Value> values = [c.OutputGradient];
        for (int i = 0; i < operands.Length; i++)
        {
            if (i != index)
            {
                terms.Add(operands[i]);
                values.Add(c.Input(i));
            }
        }

        string available = string.Concat(terms);
        string result = string.Concat(wanted.Where(l => available.Contains(l, StringComparison.Ordinal)));
        Value gradient = b.Op("Einsum", values, ("equation", $"{string.Join(',', terms)}->{result}"));
        if (result.Length == wanted.Length)
        {
            return gradient;
        }

        long[] missing = [.. Enumerable.Range(0, wanted.Length).Where(axis => !available.Contains(wanted[axis], StringComparison.Ordinal)).Select(axis => (long)axis)];
        return c.ExpandLike(b.Unsqueeze(gradient, missing), c.Input(index));
    }

    // Operands and output with letters for every axis. Axes of an ellipsis get letters of their own, aligned from the last.
    private static (string[] Operands, string Output) Parse(GradientContext c)
    {
        const string Ellipsis = "...";
        string written = c.Node.GetString("equation", "");
        string equation = written.Replace(" ", "", StringComparison.Ordinal);
        string[] sides = equation.Split("->");
        string[] operands = sides[0].Split(',');
        if (operands.Length != c.Node.Inputs.Count)
        {
            throw new GraphException($"{c.Node.Describe()} has {c.Node.Inputs.Count} inputs, but its equation '{written}' names {operands.Length}.");
        }

        // Without an arrow: the ellipsis, then all indices that occur once, in alphabetical order.
        string output = sides.Length > 1
            ? sides[1]
            : (sides[0].Contains(Ellipsis, StringComparison.Ordinal) ? Ellipsis : "")
                + string.Concat(sides[0].Where(char.IsLetter).GroupBy(l => l).Where(g => g.Count() == 1).Select(g => g.Key).Order());

        string free = string.Concat("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".Where(l => !equation.Contains(l, StringComparison.Ordinal)));
        int longest = 0;
        for (int i = 0; i < operands.Length; i++)
        {
            if (operands[i].Contains(Ellipsis, StringComparison.Ordinal))
            {
                int covered = c.Rank(c.Input(i)) - (operands[i].Length - Ellipsis.Length);
                longest = Math.Max(longest, covered);
                operands[i] = operands[i].Replace(Ellipsis, Letters(covered), StringComparison.Ordinal);
            }
        }

        return (operands, output.Replace(Ellipsis, Letters(longest), StringComparison.Ordinal));

        string Letters(int count) => string.Concat(free[..count].Reverse());
    }
}
