using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Tests.Evaluation.OrtCases.Draw;

namespace OrtQLoRA.Graph.Tests.Evaluation.OrtCases;

internal static class ReductionCases
{
    private static readonly string[] OpTypes =
    [
        "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp",
    ];

    public static IEnumerable<OrtCase> All() => [.. Reductions(), .. Orders()];

    private static IEnumerable<OrtCase> Reductions()
    {
        foreach (string opType in OpTypes)
        {
            ReferenceTensor x = Floats([2, 3, 4], 0.1, 3);
            yield return new(opType, [x]);
            yield return new(opType, [x], ("keepdims", 0));
            yield return new(opType, [x, Vector(-1)]);
            yield return new(opType, [x, Vector(0, 2)], ("keepdims", 0));
            yield return new(opType, [x, Vector(1)], ("noop_with_empty_axes", 1));
            yield return new(opType, [Floats([]), Vector()], ("keepdims", 0)) { Note = "scalar", Inputs = [Scalar(2.0)] };
            yield return new(opType, [Integers(DataType.Int32, [3, 4], 1, 5), Vector(1)]);
            long opset = opType == "ReduceSum" ? 11 : 13;
            yield return new(opType, [x], ("axes", new long[] { 1 }), ("keepdims", 0)) { Opset = opset };
            yield return new(opType, [Floats([2, 3, 1, 5], 0.1, 3), Vector(1, -1)]) { Opset = 18 };
        }

        yield return new("ReduceSum", [Floats([2, 3])], ("noop_with_empty_axes", 1));
        yield return new("ReduceSum", [Floats([2, 0, 3]), Vector(1)]);
        yield return new("ReduceSum", [Floats([0, 3]), Vector(1)]);
        yield return new("ReduceSum", [Int64([2, 3]), Vector(0)]);
        yield return new("ReduceProd", [Floats([2, 0, 3]), Vector(1)]);
        yield return new("ReduceL1", [Floats([4, 5]), Vector(0)]);
        yield return new("ReduceL2", [Floats([4, 5]), Vector(0)]);
        yield return new("ReduceMax", [Int64([4, 5]), Vector(0)]);
        yield return new("ReduceMin", [Integers(DataType.Int8, [4, 5]), Vector(0)]);
        yield return new("ReduceLogSumExp", [Floats([3, 5], 90, 120), Vector(1)]) { Note = "large" };
        yield return new("ReduceSum", [Floats(DataType.Double, [3, 5]), Vector(1)]) { Tolerance = 1e-14 };
    }

    private static IEnumerable<OrtCase> Orders()
    {
        foreach (string opType in new[] { "ArgMax", "ArgMin" })
        {
            ReferenceTensor x = Int64([4, 5], 0, 2);
            ReferenceTensor floats = Floats(DataType.Float, [2, 3, 4]);
            yield return new(opType, [floats]);
            yield return new(opType, [floats], ("axis", -1), ("keepdims", 0));
            yield return new(opType, [Elements(x)], ("axis", 1)) { Note = "ties" };
            yield return new(opType, [Elements(x)], ("axis", 1), ("select_last_index", 1)) { Note = "ties" };
        }

        foreach (long largest in new long[] { 0, 1 })
        {
            yield return new("TopK", [Floats([3, 6]), Vector(2)], ("largest", largest)) { Outputs = 2, Note = $"{largest}" };
            yield return new("TopK", [Floats([4, 2, 3]), Vector(3)], ("axis", 0), ("largest", largest)) { Outputs = 2, Note = $"{largest}" };
            yield return new("TopK", [Int64([2, 9], 0, 3), Vector(5)], ("largest", largest)) { Outputs = 2, Note = $"ties {largest}" };
        }

        yield return new("TopK", [Floats([3, 6]), Vector(0)]) { Outputs = 2 };
        foreach (long exclusive in new long[] { 0, 1 })
        {
            foreach (long reverse in new long[] { 0, 1 })
            {
                yield return new("CumSum", [Floats([3, 4]), Scalar(1)], ("exclusive", exclusive), ("reverse", reverse)) { Note = $"{exclusive}{reverse}" };
                yield return new("CumSum", [Int64([3, 2, 2]), Scalar(-3)], ("exclusive", exclusive), ("reverse", reverse)) { Note = $"{exclusive}{reverse}" };
            }
        }

        yield return new("CumSum", [Int64([0, 2]), Scalar(0)]);
        yield return new("DFT", [Floats([2, 6, 1])]) { Tolerance = 1e-5 };
        yield return new("DFT", [Floats([2, 7, 3, 2]), Scalar(5), Scalar(1)]) { Note = "shorter", Tolerance = 1e-5 };
        yield return new("DFT", [Floats([2, 3, 1]), Scalar(8), Scalar(-2)], ("onesided", 1L)) { Note = "longer, one-sided", Tolerance = 1e-5 };
        yield return new("DFT", [Floats([2, 5, 2])], ("inverse", 1L)) { Note = "inverse", Tolerance = 1e-5 };
        yield return new("NonZero", [Bools([3, 4])]);
        yield return new("NonZero", [Int64([2, 3, 2], -1, 1)]);
        yield return new("NonZero", [Floats([0, 3])]);
        yield return new("NonZero", [Scalar(2.0)]);
    }

    private static ReferenceTensor Elements(ReferenceTensor integers) =>
        ReferenceTensor.OfFloats(DataType.Float, integers.Dims, [.. integers.Integers.Select(v => (double)v)]);
}
