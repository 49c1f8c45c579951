using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit.Gradients;
using static OrtQLoRA.TestKit.Gradients.GradientInput;

namespace OrtQLoRA.Graph.Tests.Gradients;

internal static partial class GradientCheckTable
{
    private static IEnumerable<GradientRow> Shapes()
    {
        yield return new("Reshape", "merge", [Normal(2, 3, 4), Ints(6, 4)]);
        yield return new("Reshape", "copy and rest", [Normal(2, 3, 4), Ints(0, -1)]);
        yield return new("Reshape", "shape fed", [Normal(2, 3, 4), Ints(3, 2, 4).Fed()]);
        yield return new("Reshape", "empty", [Normal(0, 3, 4), Ints(3, 4, 0)], ("allowzero", 1L));
        yield return new("Reshape", "scalar", [Normal(1, 1), Ints([0])]);
        yield return new("Flatten", "axis 2", [Normal(2, 3, 4)], ("axis", 2L));
        yield return new("Flatten", "axis 0", [Normal(2, 3)], ("axis", 0L));
        yield return new("Squeeze", "one axis", [Normal(2, 1, 3, 1), Ints(1)]);
        yield return new("Squeeze", "all", [Normal(2, 1, 3, 1)]) { NeedsStaticShapes = true };
        yield return new("Unsqueeze", "two axes", [Normal(2, 3), Ints(0, -1)]);
        yield return new("Transpose", "default", [Normal(2, 3, 4)]);
        yield return new("Transpose", "heads", [Normal(2, 3, 4, 5)], ("perm", new long[] { 0, 2, 1, 3 }));
        yield return new("Transpose", "cycle", [Normal(2, 3, 4)], ("perm", new long[] { 1, 2, 0 }));
        yield return new("Transpose", "twice", [Normal(2, 3, 4)], ("perm", new long[] { 1, 2, 0 })) { Then = (b, y) => b.Transpose(y, 1, 2, 0) };
        yield return new("Expand", "new axis", [Normal(3, 1), Ints(2, 3, 4)]);
        yield return new("Expand", "middle axis", [Normal(2, 1, 3), Ints(2, 4, 3)]);
        yield return new("Expand", "ones in the shape", [Normal(2, 3), Ints(1, 1)]);
        yield return new("Expand", "shape fed", [Normal(3, 1), Ints(2, 3, 4).Fed()]);
        yield return new("Expand", "to empty", [Normal(1, 3), Ints(0, 3)]);
        yield return new("Tile", "constant", [Normal(2, 3), Ints(2, 3)]);
        yield return new("Tile", "fed", [Normal(2, 1, 3), Ints(1, 4, 2).Fed()]);
        yield return new("Concat", "three", [Normal(2, 3), Normal(2, 1), Normal(2, 4)], ("axis", 1L));
        yield return new("Concat", "negative axis, empty part", [Normal(2, 3), Normal(2, 0)], ("axis", -1L));
        yield return new("Concat", "one needed", [Normal(2, 3), Normal(2, 1).NotDifferentiated(), Normal(2, 4).NotDifferentiated()], ("axis", 1L));
        yield return new("Concat", "one input", [Normal(2, 3)], ("axis", 0L));
        yield return new("Concat", "one value twice", [Normal(2, 3), Same(0)], ("axis", 1L));
        yield return new("Split", "sizes", [Normal(2, 7), Ints(3, 1, 3)], ("axis", 1L)) { Outputs = 3 };
        yield return new("Split", "equal", [Normal(6, 2)], ("num_outputs", 3L)) { Outputs = 3 };
        yield return new("Split", "uneven", [Normal(5, 2)], ("num_outputs", 2L)) { Outputs = 2 };
        yield return new("Split", "one unused", [Normal(2, 7), Ints(3, 1, 3)], ("axis", -1L)) { Outputs = 3, UnusedOutputs = [1] };
        yield return new("Split", "one used", [Normal(2, 7), Ints(3, 1, 3)], ("axis", 1L)) { Outputs = 3, UnusedOutputs = [0, 2] };
        yield return new("Trilu", "upper", [Normal(3, 4)]);
        yield return new("Trilu", "lower with offset", [Normal(2, 4, 4), Ints([], -1)], ("upper", 0L));
        yield return new("SpaceToDepth", "block 2", [Normal(1, 2, 4, 6)], ("blocksize", 2L));
        yield return new("DepthToSpace", "DCR", [Normal(1, 8, 2, 3)], ("blocksize", 2L));
        yield return new("DepthToSpace", "CRD", [Normal(2, 8, 2, 3)], ("blocksize", 2L), ("mode", "CRD"));
        yield return new("Range", "floats", [Floats([], 0.5), Floats([], 3.1).NotDifferentiated(), Floats([], 0.7)]);
        yield return new("Pad", "constant", [Normal(2, 3), Ints(1, 0, 2, 1)]);
        yield return new("Pad", "value", [Normal(2, 3), Ints(1, 0, 2, 1), Floats([], 0.3)]);
        yield return new("Pad", "negative", [Normal(4, 5), Ints(-1, 2, 1, -2)]);
        yield return new("Pad", "axes", [Normal(2, 3, 4), Ints(1, 2), null, Ints(-1)]);
        yield return new("Pad", "pads fed", [Normal(2, 3), Ints(1, 0, 2, 1).Fed()]);
        yield return new("Pad", "reflect", [Normal(3, 4), Ints(1, 2, 2, 3)], ("mode", "reflect"));
        yield return new("Pad", "edge", [Normal(3, 4), Ints(1, 2, 2, 3)], ("mode", "edge"));
        yield return new("Pad", "wrap", [Normal(3, 4), Ints(1, 2, 2, 3)], ("mode", "wrap"));
    }

    private static IEnumerable<GradientRow> Slices()
    {
        yield return new("Slice", "head", [Normal(5, 4), Ints(0), Ints(2), Ints(0)]);
        yield return new("Slice", "tail", [Normal(5, 4), Ints(3), Ints(long.MaxValue), Ints(-1)]);
        yield return new("Slice", "negative bounds", [Normal(5, 4), Ints(-3), Ints(-1), Ints(0)]);
        yield return new("Slice", "two axes", [Normal(5, 4), Ints(1, 0), Ints(4, -1)]);
        yield return new("Slice", "bounds fed", [Normal(5, 4), Ints(1).Fed(), Ints(4).Fed(), Ints(1)]);
        yield return new("Slice", "axes fed", [Normal(5, 4), Ints(1), Ints(4), Ints(1).Fed()]);
        yield return new("Slice", "int32 bounds", [Normal(5, 4), Integers(DataType.Int32, [1], 1), Integers(DataType.Int32, [1], 3), Integers(DataType.Int32, [1], 1)]);
        yield return new("Slice", "step 2 from 0", [Normal(3, 6), Ints(0), Ints(6), Ints(1), Ints(2)]);
        yield return new("Slice", "step 2 from 1", [Normal(3, 6), Ints(1), Ints(long.MaxValue), Ints(1), Ints(2)]);
        yield return new("Slice", "step 3, odd length", [Normal(7, 2), Ints(1), Ints(7), Ints(0), Ints(3)]);
        yield return new("Slice", "step beyond the end", [Normal(7, 2), Ints(6), Ints(7), Ints(0), Ints(3)]);
        yield return new("Slice", "reversed", [Normal(5), Ints(-1), Ints(long.MinValue), Ints(0), Ints(-1)]);
        yield return new("Slice", "step -2", [Normal(2, 6), Ints(4), Ints(0), Ints(1), Ints(-2)]);
        yield return new("Slice", "steps on two axes", [Normal(5, 6), Ints(0, 5), Ints(5, 0), Ints(0, 1), Ints(2, -1)]);
        yield return new("Slice", "step fed", [Normal(5, 4), Ints(0), Ints(5), Ints(0), Ints(2).Fed()]);
        yield return new("Slice", "nothing left", [Normal(5, 4), Ints(3), Ints(2), Ints(0)]);
        yield return new("Slice", "everything", [Normal(5, 4), Ints(0), Ints(5), Ints(0)]);
        yield return new("Slice", "halves rotated", [Normal(2, 6), Ints(3), Ints(6), Ints(1)]) { Then = RotateHalf };
    }

    // As rotary embeddings do: concat(-x2, x1), with x itself used beside it.
    private static Value RotateHalf(GraphBuilder b, Value upper)
    {
        Value x = upper.Producer!.InputOrNull(0)!;
        Value lower = b.Op("Slice", [x, b.Int64s(0), b.Int64s(3), b.Int64s(1)]);
        return b.Mul(b.Add(b.Concat(1, b.Neg(upper), lower), x), x);
    }
}
