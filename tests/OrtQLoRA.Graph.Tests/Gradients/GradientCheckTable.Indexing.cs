using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit.Gradients;
using static OrtQLoRA.TestKit.Gradients.GradientInput;

namespace OrtQLoRA.Graph.Tests.Gradients;

internal static partial class GradientCheckTable
{
    private static IEnumerable<GradientRow> Indexing()
    {
        yield return new("Gather", "embedding with repeats", [Normal(5, 3), Ints([2, 2], 0, 4, 4, 1).Fed()]);
        yield return new("Gather", "negative index", [Normal(5, 3), Ints(-1, 2).Fed()]);
        yield return new("Gather", "axis 1", [Normal(2, 5, 3), Ints([2, 2], 0, 4, 4, 1).Fed()], ("axis", 1L));
        yield return new("Gather", "last axis", [Normal(2, 5), Ints(3, 3).Fed()], ("axis", -1L));
        yield return new("Gather", "first row", [Normal(2, 5, 3), Ints([], 0)], ("axis", 1L));
        yield return new("Gather", "last row", [Normal(2, 5, 3), Ints([], -1)], ("axis", 1L));
        yield return new("Gather", "one row, rank 1", [Normal(2, 5, 3), Ints(2)], ("axis", 1L));
        yield return new("Gather", "one row, rank 2", [Normal(2, 5, 3), Ints([1, 1], 2)], ("axis", 1L));
        yield return new("Gather", "no rows", [Normal(5, 3), Ints([0]).Fed()]);
        yield return new("Gather", "int32 indices", [Normal(5, 3), Integers(DataType.Int32, [2], 3, 3).Fed()]);
        yield return new("Gather", "table used twice", [Normal(3, 3), Ints(0, 2, 2).Fed()]) { Then = TiedHead };
        yield return new("GatherElements", "axis 1 with repeats", [Normal(2, 4), Ints([2, 3], 0, 3, 3, 1, 1, -1).Fed()], ("axis", 1L));
        yield return new("GatherElements", "axis 0", [Normal(3, 2), Ints([2, 2], 2, 0, 2, 1).Fed()]);
        yield return new("GatherND", "rows", [Normal(4, 3), Ints([3, 1], 0, 2, 2).Fed().OfKnownShape()]);
        yield return new("GatherND", "elements", [Normal(4, 3), Ints([3, 2], 0, 1, 2, 2, 2, 2).Fed().OfKnownShape()]);
        yield return new("GatherND", "one batch dimension", [Normal(2, 4, 3), Ints([2, 2, 1], 0, 3, 3, 3).Fed().OfKnownShape()], ("batch_dims", 1L));
        yield return new("GatherND", "two batch dimensions", [Normal(2, 2, 4), Ints([2, 2, 1], 0, 3, 1, 3).Fed().OfKnownShape()], ("batch_dims", 2L));
        yield return new("ScatterND", "replace", [Normal(4, 3), Ints([2, 1], 0, 2).Fed(), Normal(2, 3)]);
        yield return new("ScatterND", "add with repeats", [Normal(4, 3), Ints([3, 1], 0, 2, 2).Fed(), Normal(3, 3)], ("reduction", "add"));
        yield return new("ScatterElements", "replace", [Normal(2, 4), Ints([2, 2], 0, 3, 2, 1).Fed(), Normal(2, 2)], ("axis", 1L));
        yield return new("ScatterElements", "add with repeats", [Normal(2, 4), Ints([2, 2], 3, 3, 2, 1).Fed(), Normal(2, 2)], ("axis", 1L), ("reduction", "add"));
        yield return new("TopK", "largest", [Distinct(2, 5), Ints(2)]) { Outputs = 2 };
        yield return new("TopK", "smallest, axis 0", [Distinct(5, 2), Ints(3)], ("axis", 0L), ("largest", 0L)) { Outputs = 2 };
        yield return new("OneHot", "values", [Ints(1, 0, 2).Fed(), Ints([], 4), Normal(2)]);
        yield return new("OneHot", "values, axis 0", [Ints(1, 0, 2).Fed(), Ints([], 4), Normal(2)], ("axis", 0L));
    }

    // The table is the head too: its gradient is a product and a scatter.
    private static Value TiedHead(GraphBuilder b, Value rows) => b.MatMul(rows, b.Transpose(rows.Producer!.InputOrNull(0)!, 1, 0));

    private static IEnumerable<GradientRow> Reductions()
    {
        foreach (string op in new[] { "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd" })
        {
            GradientInput X(params long[] dims) => op switch
            {
                "ReduceMax" or "ReduceMin" => Distinct(dims),
                "ReduceLogSum" => Between(0.2, 2, dims),
                "ReduceL1" or "ReduceProd" => OffZero(dims),
                _ => Normal(dims),
            };
            yield return new(op, "last axis kept", [X(2, 3, 4), Ints(-1)]);
            yield return new(op, "two axes dropped", [X(2, 3, 4), Ints(0, 2)], ("keepdims", 0L));
            yield return new(op, "leading axis dropped", [X(2, 3), Ints(0)], ("keepdims", 0L));
            yield return new(op, "all dropped", [X(2, 3)], ("keepdims", 0L));
            yield return new(op, "all kept", [X(2, 3)]);
            yield return new(op, "axes fed", [X(2, 3, 4), Ints(1).Fed()]);
            yield return new(op, "axes fed, dropped", [X(2, 3, 4), Ints(1).Fed()], ("keepdims", 0L));
            yield return new(op, "axis of 1", [X(2, 1, 4), Ints(1)], ("keepdims", 0L));
        }

        yield return new("ReduceSum", "no axes, no reduction", [Normal(2, 3)], ("noop_with_empty_axes", 1L));
        yield return new("ReduceSum", "empty", [Normal(0, 3), Ints(0)]);
        yield return new("ReduceMean", "axes attribute", [Normal(2, 3, 4)], ("axes", new long[] { 1 })) { Opset = 17 };
        yield return new("ReduceMean", "of a square", [Normal(2, 3), Ints(-1)]) { Then = RootMeanSquare };
        yield return new("ReduceProd", "one zero", [Floats([2, 3], 1, 0, 2, 3, 4, 5), Ints(1)]);
        yield return new("ReduceProd", "two zeros", [Floats([2, 3], 0, 0, 2, 3, 4, 5), Ints(1)]);
        yield return new("DFT", "real", [Normal(2, 6, 1)]) { Opset = 20 };
        yield return new("DFT", "complex, middle axis", [Normal(2, 5, 3, 2), null, Ints([], 1)]) { Opset = 20 };
        yield return new("DFT", "inverse", [Normal(1, 5, 2)], ("inverse", 1L)) { Opset = 20 };
        yield return new("DFT", "one-sided, odd", [Normal(2, 7, 1)], ("onesided", 1L)) { Opset = 20 };
        yield return new("DFT", "one-sided, even", [Normal(2, 6, 1)], ("onesided", 1L)) { Opset = 20 };
        yield return new("DFT", "longer", [Normal(2, 3, 2), Ints([], 5)]) { Opset = 20 };
        yield return new("DFT", "shorter, inverse", [Normal(2, 6, 2), Ints([], 4)], ("inverse", 1L)) { Opset = 20 };
        foreach (long exclusive in new long[] { 0, 1 })
        {
            foreach (long reverse in new long[] { 0, 1 })
            {
                yield return new("CumSum", $"exclusive {exclusive}, reverse {reverse}", [Normal(2, 4), Ints([], 1)], ("exclusive", exclusive), ("reverse", reverse));
            }
        }
    }

    // x / sqrt(mean(x^2)): the mean's gradient is multiplied before it is broadcast.
    private static Value RootMeanSquare(GraphBuilder b, Value mean)
    {
        Value x = mean.Producer!.InputOrNull(0)!;
        Value square = b.ReduceMean(b.Op("Pow", [x, b.ScalarLike(x, 2)]), keepDims: true, -1);
        return b.Add(b.Mul(x, b.Op("Reciprocal", [b.Op("Sqrt", [square])])), mean);
    }
}
