using OrtQLoRA.TestKit.Gradients;
using static OrtQLoRA.TestKit.Gradients.GradientInput;

namespace OrtQLoRA.Graph.Tests.Gradients;

internal static partial class GradientCheckTable
{
    private static IEnumerable<GradientRow> Resizing()
    {
        static GradientInput?[] To(GradientInput x, params long[] sizes) => [x, null, null, Ints(sizes)];
        static GradientInput?[] By(GradientInput x, params double[] scales) => [x, null, Floats([scales.Length], scales).AsConstant().NotDifferentiated()];

        yield return new("Resize", "nearest, doubled", By(Normal(2, 3, 4, 3), 1, 1, 2, 2), ("mode", "nearest"), ("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", "floor"));
        yield return new("Resize", "nearest, halved", By(Normal(1, 2, 4, 6), 1, 1, 0.5, 0.5), ("mode", "nearest"));
        yield return new("Resize", "linear, doubled", By(Normal(2, 2, 3, 4), 1, 1, 2, 2), ("mode", "linear"));
        yield return new("Resize", "linear, one axis", By(Normal(2, 2, 3, 4), 1, 1, 1, 3), ("mode", "linear"), ("coordinate_transformation_mode", "pytorch_half_pixel"));
        yield return new("Resize", "cubic, doubled", By(Normal(1, 2, 4, 5), 1, 1, 2, 2), ("mode", "cubic"));
        yield return new("Resize", "cubic, without places outside", By(Normal(1, 2, 4, 5), 1, 1, 2, 2), ("mode", "cubic"), ("exclude_outside", 1L));
        foreach (string coordinates in new[] { "half_pixel", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric" })
        {
            yield return new("Resize", $"linear to sizes, {coordinates}", To(Normal(2, 3, 4, 5), 2, 3, 7, 3), ("mode", "linear"), ("coordinate_transformation_mode", coordinates)) { NeedsStaticShapes = true, OtherOpsets = coordinates == "half_pixel_symmetric" ? [24] : [18, 24] };
        }

        yield return new("Resize", "to a single place", To(Normal(1, 2, 4, 4), 1, 2, 1, 1), ("mode", "linear"), ("coordinate_transformation_mode", "align_corners")) { NeedsStaticShapes = true };
        yield return new("Resize", "named axes", [Normal(2, 3, 4, 5), null, null, Ints(6, 8)], ("mode", "nearest"), ("axes", new long[] { 2, 3 })) { NeedsStaticShapes = true };
    }
}
