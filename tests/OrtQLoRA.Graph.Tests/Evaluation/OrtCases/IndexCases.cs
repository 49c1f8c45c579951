using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Tests.Evaluation.OrtCases.Draw;

namespace OrtQLoRA.Graph.Tests.Evaluation.OrtCases;

internal static class IndexCases
{
    public static IEnumerable<OrtCase> All() => [.. Gathers(), .. Scatters()];

    private static IEnumerable<OrtCase> Gathers()
    {
        ReferenceTensor x = Floats([4, 3, 2]);
        yield return new("Gather", [x, Scalar(-1)]);
        yield return new("Gather", [x, Int64([2, 3], -3, 2)], ("axis", 1));
        yield return new("Gather", [x, Integers(DataType.Int32, [5], 0, 1)], ("axis", -1));
        yield return new("Gather", [x, Int64([0])]);
        yield return new("Gather", [Int64([5]), Int64([2, 2], 0, 4)]);
        yield return new("Gather", [Floats([3, 0]), Int64([2], 0, 2)]);
        yield return new("GatherElements", [x, Int64([2, 3, 2], -4, 3)]);
        yield return new("GatherElements", [x, Int64([4, 5, 1], 0, 2)], ("axis", 1));
        yield return new("GatherElements", [Int64([3]), Int64([7], -3, 2)]);
        yield return new("GatherElements", [Floats([2, 3]), Int64([2, 0], 0, 0)], ("axis", 1));
        yield return new("GatherND", [x, Int64([5, 3], 0, 1)]);
        yield return new("GatherND", [x, Int64([2, 2], -2, 1)]);
        yield return new("GatherND", [x, Int64([2, 3, 1], -4, 3)]);
        yield return new("GatherND", [x, Int64([4, 2, 1], -3, 2)], ("batch_dims", 1));
        yield return new("GatherND", [Floats([2, 3, 4]), Int64([2, 3, 1], 0, 3)], ("batch_dims", 2));
        yield return new("GatherND", [Bools([4, 3]), Int64([0, 2])]);
    }

    private static IEnumerable<OrtCase> Scatters()
    {
        foreach (string reduction in new[] { "none", "add", "mul", "max", "min" })
        {
            (string, NodeAttribute)[] attributes = reduction == "none" ? [] : [("reduction", reduction)];
            ReferenceTensor x = Floats([4, 3, 2]);
            ReferenceTensor elements = reduction == "none" ? Distinct(4, 2) : Int64([2, 3, 2], -4, 3);
            yield return new("ScatterElements", [x, elements, Floats([2, 3, 2], seed: 2)], attributes) { Note = reduction };
            yield return new("ScatterElements", [Int64([3, 5]), Vector(4, 1, 0).Reshaped([1, 3]), Int64([1, 3], seed: 2)], [.. attributes, ("axis", 1)]) { Note = reduction };
            ReferenceTensor tuples = reduction == "none" ? Vector(3, -4, 1).Reshaped([3, 1]) : Int64([3, 1], -4, 3);
            yield return new("ScatterND", [x, tuples, Floats([3, 3, 2], seed: 2)], attributes) { Note = reduction };
            yield return new("ScatterND", [x, Vector(0, 1, 1, 3, -1, 0).Reshaped([2, 3]), Floats([2], seed: 2)], attributes) { Note = reduction };
            yield return new("ScatterND", [x, Int64([0, 2]), Floats([0, 2])], attributes) { Note = $"{reduction} nothing" };
        }
    }

    // Indices [2, 3, 2] along axis 0 of size 4 in which no place is written twice.
    private static ReferenceTensor Distinct(int size, int count) => ReferenceTensor.OfIntegers(
        DataType.Int64, [count, 3, 2], [.. Enumerable.Range(0, count * 6).Select(i => (long)(((i / 6) + (i % 5)) % size))]);
}
