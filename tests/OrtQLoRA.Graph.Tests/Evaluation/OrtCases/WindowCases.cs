using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Tests.Evaluation.OrtCases.Draw;

namespace OrtQLoRA.Graph.Tests.Evaluation.OrtCases;

internal static class WindowCases
{
    public static IEnumerable<OrtCase> All() => [.. Convolutions().Concat(Transposed()).Concat(Resized()).Select(c => c with { Tolerance = 1e-5 }), .. Pools()];

    private static IEnumerable<OrtCase> Convolutions()
    {
        ReferenceTensor image = Floats([2, 4, 7, 6]);
        yield return new("Conv", [image, Floats([3, 4, 3, 3], seed: 2)]);
        yield return new("Conv", [image, Floats([3, 4, 3, 3], seed: 2), Floats([3], seed: 3)], ("pads", new long[] { 1, 0, 2, 1 }), ("strides", new long[] { 2, 1 }));
        yield return new("Conv", [image, Floats([6, 2, 2, 3], seed: 2)], ("group", 2), ("dilations", new long[] { 2, 2 }));
        yield return new("Conv", [image, Floats([4, 1, 3, 3], seed: 2)], ("group", 4), ("pads", new long[] { 1, 1, 1, 1 }));
        foreach (string autoPad in new[] { "SAME_UPPER", "SAME_LOWER", "VALID" })
        {
            yield return new("Conv", [image, Floats([2, 4, 2, 3], seed: 2)], ("auto_pad", autoPad), ("strides", new long[] { 2, 2 })) { Note = autoPad };
        }

        yield return new("Conv", [Floats([2, 3, 9]), Floats([4, 3, 3], seed: 2)], ("strides", new long[] { 2 }), ("pads", new long[] { 1, 1 }));
        yield return new("Conv", [Floats([1, 2, 4, 3, 5]), Floats([3, 2, 2, 2, 2], seed: 2)]);
        yield return new("Conv", [Floats([1, 2, 1, 1]), Floats([3, 2, 1, 1], seed: 2)]);
        yield return new("Conv", [Floats([0, 2, 4, 4]), Floats([3, 2, 3, 3], seed: 2)]);
    }

    private static IEnumerable<OrtCase> Resized()
    {
        ReferenceTensor image = Floats([1, 2, 4, 5]);
        foreach (string mode in new[] { "nearest", "linear", "cubic" })
        {
            foreach (string coordinates in new[] { "half_pixel", "align_corners", "pytorch_half_pixel", "asymmetric" })
            {
                yield return new("Resize", [image, null, null, ReferenceTensor.Int64Vector(1, 2, 7, 3)], ("mode", mode), ("coordinate_transformation_mode", coordinates)) { Note = $"{mode} {coordinates}" };
            }

            yield return new("Resize", [image, null, ReferenceTensor.OfFloats(DataType.Float, [4], 1, 1, 2, 3)], ("mode", mode)) { Note = mode };
        }
    }

    private static IEnumerable<OrtCase> Transposed()
    {
        ReferenceTensor image = Floats([2, 4, 3, 4]);
        yield return new("ConvTranspose", [image, Floats([4, 3, 3, 2], seed: 2)]);
        yield return new("ConvTranspose", [image, Floats([4, 3, 3, 3], seed: 2), Floats([3], seed: 3)], ("strides", new long[] { 2, 3 }), ("pads", new long[] { 1, 0, 1, 1 }), ("output_padding", new long[] { 1, 0 }));
        yield return new("ConvTranspose", [image, Floats([4, 2, 2, 2], seed: 2)], ("group", 2), ("dilations", new long[] { 2, 1 }));
        yield return new("ConvTranspose", [image, Floats([4, 2, 3, 3], seed: 2)], ("strides", new long[] { 2, 2 }), ("output_shape", new long[] { 6, 9 }));
        foreach (string autoPad in new[] { "SAME_UPPER", "SAME_LOWER", "VALID" })
        {
            yield return new("ConvTranspose", [image, Floats([4, 2, 3, 2], seed: 2)], ("auto_pad", autoPad), ("strides", new long[] { 2, 2 })) { Note = autoPad };
        }

        yield return new("ConvTranspose", [Floats([1, 2, 5]), Floats([2, 3, 3], seed: 2)], ("strides", new long[] { 2 }));
    }

    private static IEnumerable<OrtCase> Pools()
    {
        ReferenceTensor image = Floats([2, 3, 7, 6]);
        foreach (string opType in new[] { "MaxPool", "AveragePool" })
        {
            int outputs = opType == "MaxPool" ? 2 : 1;
            (string, NodeAttribute) kernel = ("kernel_shape", new long[] { 3, 2 });
            yield return new(opType, [image], kernel) { Outputs = outputs };
            yield return new(opType, [image], kernel, ("strides", new long[] { 2, 2 }), ("pads", new long[] { 1, 0, 1, 1 })) { Outputs = outputs };
            yield return new(opType, [image], kernel, ("strides", new long[] { 2, 3 }), ("ceil_mode", 1)) { Outputs = outputs };
            yield return new(opType, [image], kernel, ("strides", new long[] { 3, 2 }), ("pads", new long[] { 1, 1, 1, 1 }), ("ceil_mode", 1)) { Outputs = outputs };
            yield return new(opType, [image], kernel, ("dilations", new long[] { 2, 1 })) { Outputs = outputs };
            yield return new(opType, [image], kernel, ("auto_pad", "SAME_UPPER"), ("strides", new long[] { 2, 2 })) { Outputs = outputs };
            yield return new(opType, [image], kernel, ("auto_pad", "SAME_LOWER")) { Outputs = outputs };
            yield return new(opType, [Floats([2, 3, 8])], ("kernel_shape", new long[] { 3 }), ("strides", new long[] { 2 })) { Outputs = outputs };
        }

        (string, NodeAttribute)[] counted = [("kernel_shape", new long[] { 3, 3 }), ("pads", new long[] { 1, 1, 1, 1 }), ("count_include_pad", 1)];
        yield return new("AveragePool", [image], counted);
        yield return new("AveragePool", [image], [.. counted, ("ceil_mode", 1), ("strides", new long[] { 2, 2 })]);
        yield return new("GlobalAveragePool", [image]);
        yield return new("GlobalMaxPool", [image]);
        yield return new("GlobalAveragePool", [Floats([2, 3, 5])]);
    }
}
