namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Einstein summation: one loop over the space of all labels.</summary>
/// <remarks>
/// An ellipsis stands for axes broadcast together; each of them gets a label of its own, aligned at the last, here
/// the characters '\0', '\1', ... which no equation contains.
/// </remarks>
internal static class EinsumKernel
{
    private const string Ellipsis = "...";

    public static void Register(KernelRegistry registry) => registry.Add("Einsum", Einsum);

    private static ReferenceTensor Einsum(KernelContext c)
    {
        IReadOnlyList<ReferenceTensor> inputs = c.AllInputs();
        string equation = c.GetString("equation", "").Replace(" ", "", StringComparison.Ordinal);
        string[] sides = equation.Split("->");
        string[] terms = sides[0].Split(',');
        if (terms.Length != inputs.Count || sides.Length > 2)
        {
            throw c.Error($"the equation '{equation}' does not have one term for each of the {inputs.Count} inputs");
        }

        int ellipsisRank = terms.Select((t, i) => t.Contains(Ellipsis, StringComparison.Ordinal) ? inputs[i].Rank - (t.Length - Ellipsis.Length) : 0).Max();
        string[] labels = [.. terms.Select((t, i) => Spell(t, inputs[i].Rank - (t.Length - Ellipsis.Length), ellipsisRank))];
        string output = sides.Length == 2 ? Spell(sides[1], ellipsisRank, ellipsisRank) : ImplicitOutput(labels);
        Dictionary<char, long> sizes = Sizes(c, equation, labels, inputs);
        if (output.Distinct().Count() != output.Length || !output.All(sizes.ContainsKey))
        {
            throw c.Error($"the output of the equation '{equation}' repeats a label or has one that no input has");
        }

        char[] summed = [.. sizes.Keys.Except(output)];
        char[] space = [.. output, .. summed];
        long[] dims = [.. space.Select(l => sizes[l])];
        int[][] maps = [.. inputs.Select((x, i) => Indexing.View(dims, StridesOf(x, labels[i], space)))];
        long[] outputDims = [.. output.Select(l => sizes[l])];
        int outputs = Indexing.Count(outputDims);
        int products = outputs == 0 ? 0 : Indexing.Count(dims) / outputs;
        return inputs[0].IsFloatingPoint
            ? ReferenceTensor.OfFloats(inputs[0].ElementType, outputDims, SumOfProducts(maps, outputs, products, (i, at) => inputs[i].Floats[at]))
            : ReferenceTensor.OfIntegers(inputs[0].ElementType, outputDims, SumOfProducts(maps, outputs, products, (i, at) => inputs[i].Integers[at]));
    }

    private static T[] SumOfProducts<T>(int[][] maps, int outputs, int terms, Func<int, int, T> element)
        where T : struct, System.Numerics.INumber<T>
    {
        T[] result = new T[outputs];
        for (int o = 0; o < outputs; o++)
        {
            for (int t = 0; t < terms; t++)
            {
                T product = T.One;
                for (int i = 0; i < maps.Length; i++)
                {
                    product *= element(i, maps[i][(o * terms) + t]);
                }

                result[o] += product;
            }
        }

        return result;
    }

    private static string Spell(string term, int rank, int ellipsisRank) =>
        term.Replace(Ellipsis, new string([.. Enumerable.Range(ellipsisRank - rank, Math.Max(rank, 0)).Select(i => (char)i)]), StringComparison.Ordinal);

    // Without '->': the broadcast axes, then the labels that occur once, in alphabetical order.
    private static string ImplicitOutput(string[] labels) =>
        new([.. labels.SelectMany(l => l).GroupBy(l => l).Where(g => g.Key < 'A' || g.Count() == 1).Select(g => g.Key).Order()]);

    private static Dictionary<char, long> Sizes(KernelContext c, string equation, string[] labels, IReadOnlyList<ReferenceTensor> inputs)
    {
        Dictionary<char, long> sizes = [];
        for (int i = 0; i < labels.Length; i++)
        {
            if (labels[i].Length != inputs[i].Rank)
            {
                throw c.Error($"input {i} of the equation '{equation}' has rank {inputs[i].Rank}");
            }

            for (int axis = 0; axis < labels[i].Length; axis++)
            {
                long size = inputs[i].Dims[axis];
                long known = sizes.GetValueOrDefault(labels[i][axis], 1);
                if (known != size && known != 1 && size != 1)
                {
                    throw c.Error($"label '{labels[i][axis]}' of the equation '{equation}' has sizes {known} and {size}");
                }

                sizes[labels[i][axis]] = known == 1 ? size : known;
            }
        }

        return sizes;
    }

    // A label that a term repeats walks its diagonal: the strides add up. Axes of size 1 are broadcast.
    private static long[] StridesOf(ReferenceTensor x, string labels, char[] space)
    {
        long[] strides = Indexing.Strides(x.Dims);
        return [.. space.Select(label => labels.Select((l, axis) => l == label && x.Dims[axis] != 1 ? strides[axis] : 0).Sum())];
    }
}
