using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Decides whether a run uses the native operators.</summary>
internal static class NativeOperators
{
    /// <summary>The native library, if options allow it, the graph is to use it, and it can be loaded.</summary>
    /// <param name="options">The run's options.</param>
    /// <param name="model">The model to train, before quantization.</param>
    /// <param name="callback">Is warned when the library would be used but cannot be.</param>
    /// <param name="runsOnSessions">
    /// Whether the graph is for this project's own engine. Graphs for ONNX Runtime's training take native operators only
    /// where there are int8 weights to multiply by.
    /// </param>
    internal static CustomOpLibrary? Find(TrainingOptions options, OnnxModel model, ITrainingCallback callback, bool runsOnSessions) =>
        Find(options, model, callback, runsOnSessions, () => CustomOpLibrary.TryLoad(out CustomOpLibrary? library, out string? reason) ? (library, "") : (null, reason));

    /// <summary>The same with another way to the library.</summary>
    /// <param name="options">The run's options.</param>
    /// <param name="model">The model to train, before quantization.</param>
    /// <param name="callback">Is warned when the library would be used but cannot be.</param>
    /// <param name="runsOnSessions">
    /// Whether the graph is for this project's own engine. Graphs for ONNX Runtime's training take native operators only
    /// where there are int8 weights to multiply by.
    /// </param>
    /// <param name="load">Loads the library, or says why it cannot be used.</param>
    internal static CustomOpLibrary? Find(
        TrainingOptions options, OnnxModel model, ITrainingCallback callback, bool runsOnSessions, Func<(CustomOpLibrary? Library, string Reason)> load)
    {
        if (options.Ops == OpsMode.Portable || (!runsOnSessions && !HasInt8Weights(options, model)))
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
            callback.OnWarning($"The graph runs on standard operators, which takes more time and memory. {reason}");
        }

        return library;
    }

    private static bool HasInt8Weights(TrainingOptions options, OnnxModel model) =>
        options.Quantization != QuantizationKind.None
        || model.Graph.AllNodes().Any(n => n.Is("DequantizeLinear") && n.InputOrNull(0) is { IsConstant: true, ElementType: DataType.Int8 });
}
