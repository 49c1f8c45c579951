using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>Tensors as fp32.</summary>
internal static class FloatTensor
{
    /// <summary>The tensor itself if it is fp32 and lies in memory, else a copy of it in fp32.</summary>
    /// <remarks>A copy, since the file behind a mapped tensor may be closed while training goes on.</remarks>
    public static ITensor Of(ITensor tensor) =>
        tensor is DenseTensor { ElementType: DataType.Float } ? tensor : DenseTensor.Of([.. tensor.Dims], tensor.ToFloats());
}
