using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Decides whether a run uses the native operators.</summary>
internal static class NativeOperators
{
    /// <summary>The native library, if options allow it, the graph has int8 weights to multiply by, and it can be loaded.</summary>
    /// <param name="options">The run's options.</param>
    /// <param name="model">The model to train, before quantization.</param>
    /// <param name="callback">Is warned when the library would be used but cannot be.</param>
    internal static CustomOpLibrary? Find(TrainingOptions options, OnnxModel model, ITrainingCallback callback) =>
        Find(options, model, callback, () => CustomOpLibrary.TryLoad(out CustomOpLibrary? library, out string? reason) ? (library, "") : (null, reason));

    /// <summary>The same with another way to the library.</summary>
    /// <param name="options">The run's options.</param>
    /// <param name="model">The model to train, before quantization.</param>
    /// <param name="callback">Is warned when the library would be used but cannot be.</param>
    /// <param name="load">Loads the library, or says why it cannot be used.</param>
    internal static CustomOpLibrary? Find(
        TrainingOptions options, OnnxModel model, ITrainingCallback callback, Func<(CustomOpLibrary? Library, string Reason)> load)
    {
        if (options.Ops == OpsMode.Portable || (!options.Device.IsCuda && !HasInt8Weights(options, model)))
        {
            return null;
        }

        (CustomOpLibrary? library, string reason) = load();
        if (options.Device.IsCuda && library?.CudaPath is null)
        {
            callback.OnWarning($"The graph runs on ONNX Runtime's own CUDA operators, which takes more time and memory. {library?.CudaReason ?? reason}");
            return null;
        }

        if (library is null)
        {
            callback.OnWarning($"Int8 products run on standard operators, which takes more time and memory. {reason}");
        }

        return library;
    }

    private static bool HasInt8Weights(TrainingOptions options, OnnxModel model) =>
        options.Quantization != QuantizationKind.None
        || model.Graph.AllNodes().Any(n => n.Is("DequantizeLinear") && n.InputOrNull(0) is { IsConstant: true, ElementType: DataType.Int8 });
}
