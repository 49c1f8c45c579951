using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.OnnxAdapters;

/// <summary>Stands in for adapters where ONNX Runtime has none: the training packages ended before them.</summary>
internal sealed class ActiveAdapter : IDisposable
{
    private ActiveAdapter()
    {
    }

    /// <summary>Refuses.</summary>
    /// <exception cref="EngineException">Always.</exception>
    public static ActiveAdapter Load(string path) =>
        throw new EngineException($"'{path}' cannot be compared with the trained graph: ONNX Runtime's training packages load no adapters. Build with OrtFlavor Cpu or Gpu, or export with --no-verify.");

    /// <summary>Does nothing: there is no such object.</summary>
    [System.Diagnostics.CodeAnalysis.SuppressMessage("Performance", "CA1822:Mark members as static", Justification = "The class of the other flavours is called so.")]
    public void Activate(RunOptions options) => ArgumentNullException.ThrowIfNull(options);

    public void Dispose()
    {
    }
}
