using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Copies the runtime's tensors into ours.</summary>
internal static class TensorCopy
{
    internal static DenseTensor Of(OrtValue value)
    {
        OrtTensorTypeAndShapeInfo info = value.GetTensorTypeAndShape();
        byte[] bytes = info.ElementCount == 0 ? [] : value.GetTensorMutableRawData().ToArray();
        return new DenseTensor((DataType)info.ElementDataType, info.Shape, bytes);
    }
}
