namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>
/// A tensor seen as groups of elements: one group for each position along the axes that stay, its members along
/// the axes that are worked on. Element m of group g is <c>values[Groups[g] + Members[m]]</c>.
/// </summary>
internal sealed class Lanes
{
    public Lanes(ReferenceTensor x, params IReadOnlyCollection<int> axes)
    {
        long[] strides = Indexing.Strides(x.Dims);
        int[] kept = [.. Enumerable.Range(0, x.Rank).Except(axes)];
        Groups = Indexing.View(Indexing.At(x.Dims, kept), Indexing.At(strides, kept));
        Members = Indexing.View(Indexing.At(x.Dims, axes), Indexing.At(strides, axes));
    }

    /// <summary>Flat index of each group's first element.</summary>
    public int[] Groups { get; }

    /// <summary>Distance of each member from its group's first element.</summary>
    public int[] Members { get; }

    /// <summary>Copies the members of one group.</summary>
    public T[] Read<T>(IReadOnlyList<T> values, int group)
    {
        T[] members = new T[Members.Length];
        for (int m = 0; m < members.Length; m++)
        {
            members[m] = values[Groups[group] + Members[m]];
        }

        return members;
    }

    /// <summary>Replaces every group's members by a function of them, member by member.</summary>
    public ReferenceTensor Transform(ReferenceTensor x, Func<double[], double[]> function)
    {
        double[] result = new double[x.Count];
        for (int g = 0; g < Groups.Length; g++)
        {
            double[] members = function(Read(x.Floats, g));
            for (int m = 0; m < members.Length; m++)
            {
                result[Groups[g] + Members[m]] = members[m];
            }
        }

        return x.WithFloats(result);
    }
}
