using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Einsum: labels of the equation bound to the inputs' dimensions.</summary>
internal static class EinsumRule
{
    internal static void Infer(OperatorCall call)
    {
        int[] inputs = [.. Enumerable.Range(0, call.Node.Inputs.Count)];
        DataType type = call.CommonType(inputs);
        string equation = call.Node.GetString("equation", "").Replace(" ", "", StringComparison.Ordinal);
        string[] sides = equation.Split("->");
        string[] terms = sides[0].Split(',');
        if (equation.Length == 0 || sides.Length > 2 || terms.Length != inputs.Length)
        {
            throw call.Error($"the equation '{equation}' does not fit {inputs.Length} inputs");
        }

        Dictionary<char, Dimension> labels = [];
        Shape? ellipsis = Shape.Scalar;
        bool ranksKnown = true;
        for (int i = 0; i < terms.Length; i++)
        {
            ranksKnown &= Bind(call, i, terms[i], labels, ref ellipsis);
        }

        string output = sides.Length == 2 ? sides[1] : ImplicitOutput(sides[0]);
        call.Set(0, type, OutputShape(call, output, labels, ranksKnown ? ellipsis : null));
    }

    private static bool Bind(OperatorCall call, int input, string term, Dictionary<char, Dimension> labels, ref Shape? ellipsis)
    {
        int dots = term.IndexOf("...", StringComparison.Ordinal);
        string letters = term.Replace("...", "", StringComparison.Ordinal);
        if (call.ShapeOf(input) is not Shape shape)
        {
            foreach (char letter in letters)
            {
                labels.TryAdd(letter, Dimension.Unknown);
            }

            return dots < 0;
        }

        int covered = shape.Rank - letters.Length;
        if (covered < 0 || (dots < 0 && covered > 0))
        {
            throw call.Error($"term '{term}' of the equation does not fit input {input}, {call.Node.Inputs[input]}");
        }

        for (int i = 0; i < letters.Length; i++)
        {
            Dimension dimension = shape[dots < 0 || i < dots ? i : i + covered];
            if (!labels.TryGetValue(letters[i], out Dimension known) || known.Value == 1 || known.IsUnknown)
            {
                labels[letters[i]] = dimension;
            }
            else if (dimension.Value != 1)
            {
                call.RequireEqual(known, dimension, $"dimensions with label '{letters[i]}'");
                labels[letters[i]] = known.IsKnown ? known : dimension;
            }
        }

        if (dots >= 0 && ellipsis is not null)
        {
            ellipsis = DimensionAlgebra.Broadcast(call, ellipsis, new Shape(shape.Skip(dots).Take(covered)));
        }

        return true;
    }

    private static Shape? OutputShape(OperatorCall call, string output, Dictionary<char, Dimension> labels, Shape? ellipsis)
    {
        int dots = output.IndexOf("...", StringComparison.Ordinal);
        if (dots >= 0 && ellipsis is null)
        {
            return null;
        }

        List<Dimension> dims = [];
        string letters = output.Replace("...", "", StringComparison.Ordinal);
        for (int i = 0; i <= letters.Length; i++)
        {
            if (i == dots)
            {
                dims.AddRange(ellipsis!);
            }

            if (i < letters.Length)
            {
                dims.Add(labels.TryGetValue(letters[i], out Dimension dimension)
                    ? dimension
                    : throw call.Error($"label '{letters[i]}' of the output is in no input of the equation"));
            }
        }

        return new Shape(dims);
    }

    private static string ImplicitOutput(string inputs)
    {
        IEnumerable<char> once = inputs.Where(char.IsLetter).GroupBy(c => c).Where(g => g.Count() == 1).Select(g => g.Key).Order();
        return (inputs.Contains("...", StringComparison.Ordinal) ? "..." : "") + string.Concat(once);
    }
}
