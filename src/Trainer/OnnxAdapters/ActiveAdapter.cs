using Microsoft.ML.OnnxRuntime;

namespace OrtQLoRA.Trainer.OnnxAdapters;

/// <summary>An <c>.onnx_adapter</c> file, loaded for runs of sessions.</summary>
internal sealed class ActiveAdapter : IDisposable
{
    private readonly OrtLoraAdapter _adapter;

    private ActiveAdapter(OrtLoraAdapter adapter)
    {
        _adapter = adapter;
    }

    /// <summary>Loads a file.</summary>
    /// <exception cref="OnnxRuntimeException">ONNX Runtime refuses it.</exception>
    public static ActiveAdapter Load(string path) => new(OrtLoraAdapter.Create(path, null));

    /// <summary>Makes a run use the adapter.</summary>
    public void Activate(RunOptions options) => options.AddActiveLoraAdapter(_adapter);

    public void Dispose() => _adapter.Dispose();
}
