using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Export;

/// <summary>The way between what an initializer holds and the parameter that PyTorch has: <see cref="ModelParameter.Offset"/> apart.</summary>
internal static class ParameterValues
{
    /// <summary>PyTorch's values, laid out as the initializer.</summary>
    public static ITensor Of(ModelParameter parameter) => parameter.Offset == 0 ? parameter.Content : Shifted(parameter.Content, -parameter.Offset);

    /// <summary>What the initializer holds, in its element type, for PyTorch's values laid out as the initializer.</summary>
    public static ITensor ToContent(ModelParameter parameter, ITensor values) =>
        ConvertedTensor.Like(parameter.Offset == 0 ? values : Shifted(values, parameter.Offset), parameter.Content);

    private static DenseTensor Shifted(ITensor tensor, float offset) => DenseTensor.Of([.. tensor.Dims], Array.ConvertAll(tensor.ToFloats(), v => v + offset));
}
