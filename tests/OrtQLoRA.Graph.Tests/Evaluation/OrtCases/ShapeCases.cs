using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Tests.Evaluation.OrtCases.Draw;

namespace OrtQLoRA.Graph.Tests.Evaluation.OrtCases;

internal static class ShapeCases
{
    public static IEnumerable<OrtCase> All() => [.. Reshapes(), .. Repeats(), .. Slices(), .. Joins(), .. Pads(), .. Constants()];

    private static IEnumerable<OrtCase> Reshapes()
    {
        yield return new("Reshape", [Floats([2, 3, 4]), Vector(4, -1)]);
        yield return new("Reshape", [Floats([2, 3, 4]), Vector(0, -1, 2)]);
        yield return new("Reshape", [Floats([1]), Vector()]);
        yield return new("Reshape", [Floats([0, 3]), Vector(3, 0)], ("allowzero", 1));
        yield return new("Reshape", [Floats([]), Vector(1, 1)]);
        foreach (long axis in new long[] { 0, 1, 3, -1 })
        {
            yield return new("Flatten", [Floats([2, 3, 4])], ("axis", axis)) { Note = $"{axis}" };
        }

        yield return new("Flatten", [Floats([2, 0, 4])], ("axis", 1));
        yield return new("Squeeze", [Floats([1, 3, 1, 2])]);
        yield return new("Squeeze", [Floats([1, 3, 1, 2]), Vector(-2)]);
        yield return new("Squeeze", [Floats([1, 3, 1, 2])], ("axes", new long[] { 0 })) { Opset = 11 };
        yield return new("Unsqueeze", [Floats([3, 2]), Vector(-1, 0)]);
        yield return new("Unsqueeze", [Floats([]), Vector(0)]);
        yield return new("Unsqueeze", [Floats([3, 2])], ("axes", new long[] { 1, 3 })) { Opset = 11 };
        yield return new("Transpose", [Floats([2, 3, 4])]);
        yield return new("Transpose", [Floats([2, 3, 4])], ("perm", new long[] { 2, 0, 1 }));
        yield return new("Transpose", [Floats([2, 0, 4])], ("perm", new long[] { 2, 0, 1 }));
        yield return new("Transpose", [Bools([2, 3, 2, 2])], ("perm", new long[] { 0, 2, 1, 3 }));
        foreach (string mode in new[] { "DCR", "CRD" })
        {
            yield return new("DepthToSpace", [Floats([2, 12, 2, 3])], ("blocksize", 2), ("mode", mode)) { Note = mode };
        }

        yield return new("SpaceToDepth", [Floats([2, 3, 4, 6])], ("blocksize", 2));
    }

    private static IEnumerable<OrtCase> Repeats()
    {
        yield return new("Expand", [Floats([3, 1]), Vector(2, 1, 4)]);
        yield return new("Expand", [Floats([]), Vector(2, 3)]);
        yield return new("Expand", [Floats([1, 3]), Vector(0, 3)]);
        yield return new("Expand", [Int64([2, 3]), Vector(1)]);
        yield return new("Tile", [Floats([2, 3]), Vector(2, 1)]);
        yield return new("Tile", [Floats([2, 1, 2]), Vector(1, 3, 2)]);
        yield return new("Tile", [Floats([2, 3]), Vector(0, 2)]);
    }

    private static IEnumerable<OrtCase> Slices()
    {
        ReferenceTensor x = Floats([5, 4, 3]);
        yield return new("Slice", [x, Vector(1), Vector(4)]);
        yield return new("Slice", [x, Vector(1, 0), Vector(long.MaxValue, 2), Vector(0, -1)]);
        yield return new("Slice", [x, Vector(-3), Vector(-1), Vector(1)]);
        yield return new("Slice", [x, Vector(long.MaxValue), Vector(long.MinValue), Vector(0), Vector(-1)]);
        yield return new("Slice", [x, Vector(4, -1), Vector(-100, 0), Vector(0, 1), Vector(-2, -3)]);
        yield return new("Slice", [x, Vector(0), Vector(5), Vector(0), Vector(2)]);
        yield return new("Slice", [x, Vector(0), Vector(long.MaxValue), Vector(0), Vector(long.MaxValue)]);
        yield return new("Slice", [x, Vector(3), Vector(2), Vector(0)]);
        yield return new("Slice", [x, Vector(100), Vector(200), Vector(0)]);
        yield return new("Slice", [x, Vector(100), Vector(-200), Vector(0), Vector(-1)]);
        yield return new("Slice", [x, Vector(-100), Vector(-200), Vector(0), Vector(-1)]) { Note = "start before the first" };
        yield return new("Slice", [x, Vector(3), Vector(long.MaxValue), Vector(0), Vector(-1)]) { Note = "end at the largest" };
        yield return new("Slice", [x, Vector(3), Vector(int.MaxValue), Vector(0), Vector(-1)]) { Note = "end at the largest int32" };
        yield return new("Slice", [x, Vector(3), Vector(100), Vector(0), Vector(-1)]) { Note = "end beyond the last" };
        yield return new("Slice", [x, Vector(long.MinValue), Vector(long.MaxValue), Vector(0), Vector(1)]) { Note = "everything" };
        yield return new("Slice", [x, Vector(4), Vector(long.MinValue), Vector(0), Vector(long.MinValue + 1)]) { Note = "large step" };
        yield return new("Slice", [Floats([0, 3]), Vector(0), Vector(5), Vector(0)]);
        yield return new("Slice", [Floats([0, 3]), Vector(-1), Vector(long.MinValue), Vector(0), Vector(-1)]);
        yield return new("Slice", [x], ("starts", new long[] { 1, 0 }), ("ends", new long[] { 3, -1 }), ("axes", new long[] { 0, 2 })) { Opset = 9 };
        yield return new("Trilu", [Floats([4, 5])]);
        yield return new("Trilu", [Floats([2, 4, 3]), Scalar(1)], ("upper", 0));
        yield return new("Trilu", [Floats([4, 5]), Scalar(-2)]);
        yield return new("Trilu", [Int64([3, 3]), Scalar(-1)], ("upper", 0));
        yield return new("Trilu", [Floats([2, 0, 3])]);
    }

    private static IEnumerable<OrtCase> Joins()
    {
        yield return new("Concat", [Floats([2, 3]), Floats([1, 3], seed: 2)], ("axis", 0));
        yield return new("Concat", [Floats([2, 3, 2]), Floats([2, 0, 2]), Floats([2, 1, 2], seed: 2)], ("axis", -2));
        yield return new("Concat", [Int64([1]), Int64([2], seed: 2)], ("axis", 0));
        yield return new("Concat", [Floats([0, 3]), Floats([0, 2])], ("axis", 1));
        yield return new("Split", [Floats([2, 7]), Vector(3, 0, 4)], ("axis", 1)) { Outputs = 3 };
        yield return new("Split", [Floats([7, 2])], ("num_outputs", 3)) { Outputs = 3 };
        yield return new("Split", [Floats([2, 6])], ("axis", -1)) { Outputs = 2, Opset = 13 };
        yield return new("Split", [Floats([2, 6])], ("axis", -1), ("split", new long[] { 1, 5 })) { Outputs = 2, Opset = 11 };
    }

    private static IEnumerable<OrtCase> Pads()
    {
        foreach (string mode in new[] { "constant", "reflect", "edge", "wrap" })
        {
            yield return new("Pad", [Floats([3, 4]), Vector(1, 2, 0, 3)], ("mode", mode)) { Note = mode };
            yield return new("Pad", [Floats([4, 4]), Vector(-1, 1, 2, -2)], ("mode", mode)) { Note = $"{mode} negative" };
        }

        yield return new("Pad", [Floats([3, 4]), Vector(1, 2, 0, 3), Scalar(7.0)]);
        yield return new("Pad", [Floats([3, 4]), Vector(1, 2), null, Vector(-1)], ("mode", "edge"));
        yield return new("Pad", [Floats([2, 3, 4]), Vector(1, 2, 0, 3), Scalar(7.0), Vector(2, 0)]);
        yield return new("Pad", [Int64([3]), Vector(1, 2), Scalar(5)]);
        yield return new("Pad", [Floats([0, 2]), Vector(1, 0, 1, 1), Scalar(5.0)]);
        yield return new("Pad", [Floats([3, 4])], ("pads", new long[] { 1, 2, 0, 3 }), ("value", 2f)) { Opset = 10 };
    }

    private static IEnumerable<OrtCase> Constants()
    {
        foreach (long[] dims in AnyShape)
        {
            yield return new("Shape", [Floats(dims)]);
            yield return new("Size", [Floats(dims)]);
            yield return new("ConstantOfShape", [Vector(dims)]);
            yield return new("ConstantOfShape", [Vector(dims)], ("value", DenseTensor.Vector(7L)));
        }

        yield return new("Shape", [Floats([2, 3, 4])], ("start", 1));
        yield return new("Shape", [Floats([2, 3, 4])], ("start", -2), ("end", -1));
        yield return new("Shape", [Floats([2, 3, 4])], ("start", -9), ("end", 9));
        yield return new("Shape", [Floats([2, 3, 4])], ("start", 2), ("end", 1));
        yield return new("Range", [Scalar(1), Scalar(10), Scalar(3)]);
        yield return new("Range", [Scalar(10), Scalar(1), Scalar(-4)]);
        yield return new("Range", [Scalar(3), Scalar(3), Scalar(1)]);
        yield return new("Range", [Scalar(0.5), Scalar(3.0), Scalar(0.4)]);
        yield return new("Range", [Scalar(1, DataType.Int32), Scalar(5, DataType.Int32), Scalar(1, DataType.Int32)]);
        yield return new("EyeLike", [Floats([3, 4])]);
        yield return new("EyeLike", [Floats([3, 4])], ("k", 1), ("dtype", (long)DataType.Int64));
        yield return new("EyeLike", [Floats([4, 3])], ("k", -2));
        yield return new("OneHot", [Int64([2, 3], -4, 5), Scalar(4), Vector(0, 1)]);
        yield return new("OneHot", [Int64([2, 3], 0, 3), Scalar(4), NodeRunner.F([2], -1, 2)], ("axis", 0));
        yield return new("OneHot", [Int64([2, 3], 0, 3), Vector(4), NodeRunner.F([2], -1, 2)], ("axis", 1));
        yield return new("OneHot", [NodeRunner.F([3], 0, 3, 2), Scalar(4.0), NodeRunner.F([2], 0, 1)]);
        foreach ((string name, NodeAttribute value) in new (string, NodeAttribute)[]
        {
            ("value", DenseTensor.Of<float>([2], [1, 2])), ("value_float", 1.5f), ("value_floats", new[] { 1f, 2f }), ("value_int", 3), ("value_ints", new[] { 3L, 4L }),
        })
        {
            yield return new("Constant", [], (name, value)) { Note = name };
        }
    }
}
