using OrtQLoRA.TestKit.Gradients;
using static OrtQLoRA.TestKit.Gradients.GradientInput;

namespace OrtQLoRA.Graph.Tests.Gradients;

internal static partial class GradientCheckTable
{
    private static IEnumerable<GradientRow> Convolutions()
    {
        yield return new("Conv", "plain", [Normal(2, 3, 5, 6), Normal(4, 3, 3, 2).OfKnownShape(), Normal(4)]);
        yield return new("Conv", "1-d, padded", [Normal(2, 3, 7), Normal(4, 3, 3).OfKnownShape()], ("pads", new long[] { 1, 2 }));
        yield return new("Conv", "3-d", [Normal(1, 2, 3, 4, 3), Normal(2, 2, 2, 2, 2).OfKnownShape()]);
        yield return new("Conv", "stride with rest", [Normal(2, 2, 6, 7), Normal(3, 2, 3, 3).OfKnownShape(), Normal(3)], ("strides", new long[] { 2, 2 }), ("pads", new long[] { 1, 0, 0, 1 }));
        yield return new("Conv", "stride without rest", [Normal(2, 2, 6, 6), Normal(3, 2, 2, 2).OfKnownShape()], ("strides", new long[] { 2, 2 }));
        yield return new("Conv", "dilated", [Normal(1, 2, 8, 7), Normal(2, 2, 3, 2).OfKnownShape()], ("dilations", new long[] { 2, 3 }), ("strides", new long[] { 2, 1 }));
        yield return new("Conv", "grouped", [Normal(2, 4, 5, 5), Normal(6, 2, 3, 3).OfKnownShape(), Normal(6)], ("group", 2L), ("pads", new long[] { 1, 1, 1, 1 }));
        yield return new("Conv", "depthwise", [Normal(2, 3, 5, 5), Normal(3, 1, 3, 3).OfKnownShape()], ("group", 3L), ("strides", new long[] { 2, 2 }));
        yield return new("Conv", "same upper", [Normal(1, 2, 5, 6), Normal(2, 2, 3, 2).OfKnownShape()], ("auto_pad", "SAME_UPPER"), ("strides", new long[] { 2, 2 })) { NeedsStaticShapes = true };
        yield return new("Conv", "same lower", [Normal(1, 2, 5, 6), Normal(2, 2, 3, 2).OfKnownShape()], ("auto_pad", "SAME_LOWER")) { NeedsStaticShapes = true };
        yield return new("Conv", "valid", [Normal(1, 2, 5, 6), Normal(2, 2, 3, 2).OfKnownShape()], ("auto_pad", "VALID"));
        yield return new("Conv", "one pixel", [Normal(1, 2, 1, 1), Normal(3, 2, 1, 1).OfKnownShape()]);
        yield return new("ConvTranspose", "plain", [Normal(2, 3, 4, 3), Normal(3, 2, 3, 2).OfKnownShape(), Normal(2)]);
        yield return new("ConvTranspose", "stride, padding, dilation", [Normal(1, 2, 4), Normal(2, 3, 3).OfKnownShape()], ("strides", new long[] { 2 }), ("pads", new long[] { 1, 1 }), ("output_padding", new long[] { 1 }), ("dilations", new long[] { 2 }));
        yield return new("ConvTranspose", "grouped", [Normal(2, 4, 3, 3), Normal(4, 3, 2, 2).OfKnownShape()], ("group", 2L));
        yield return new("MaxPool", "overlapping", [Distinct(2, 3, 6, 5)], ("kernel_shape", new long[] { 3, 2 }), ("strides", new long[] { 2, 1 }), ("pads", new long[] { 1, 0, 0, 1 }));
        yield return new("MaxPool", "with indices, ceil", [Distinct(1, 2, 7)], ("kernel_shape", new long[] { 2 }), ("strides", new long[] { 2 }), ("ceil_mode", 1L)) { Outputs = 2 };
        foreach (long includePad in new long[] { 0, 1 })
        {
            yield return new("AveragePool", $"padded, count_include_pad {includePad}", [Normal(2, 3, 6, 5)], ("kernel_shape", new long[] { 3, 2 }), ("strides", new long[] { 2, 1 }), ("pads", new long[] { 1, 0, 1, 1 }), ("count_include_pad", includePad));
            yield return new("AveragePool", $"ceil, count_include_pad {includePad}", [Normal(1, 2, 7)], ("kernel_shape", new long[] { 3 }), ("strides", new long[] { 3 }), ("pads", new long[] { 1, 1 }), ("ceil_mode", 1L), ("count_include_pad", includePad));
        }

        yield return new("AveragePool", "plain", [Normal(2, 3, 4, 4)], ("kernel_shape", new long[] { 2, 2 }), ("strides", new long[] { 2, 2 }));
        yield return new("AveragePool", "dilated", [Normal(1, 2, 7)], ("kernel_shape", new long[] { 2 }), ("dilations", new long[] { 3 })) { OtherOpsets = [24] };
        yield return new("GlobalAveragePool", "two spatial axes", [Normal(2, 3, 4, 5)]);
        yield return new("GlobalMaxPool", "two spatial axes", [Distinct(2, 3, 4, 5)]);
    }
}
