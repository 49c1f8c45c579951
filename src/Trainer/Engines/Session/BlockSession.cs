using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>A session over one of the <see cref="BlockModels"/>; its tensors lie where the caller has them.</summary>
internal sealed class BlockSession : IDisposable
{
    private readonly OrtIoBinding _binding;
    private readonly RunOptions _runOptions = new();
    private readonly string _what;

    internal BlockSession(SessionFactory factory, OnnxModel model, string what)
    {
        using (model)
        {
            Session = factory.Create(model, what);
        }

        _what = what;
        _binding = Session.CreateIoBinding();
    }

    internal InferenceSession Session { get; }

    /// <summary>Computes <paramref name="y"/> from <paramref name="x"/>; returns when the memory of y holds the result.</summary>
    internal void Run(OrtValue x, OrtValue y)
    {
        _binding.BindInput(BlockModels.Input, x);
        _binding.BindOutput(BlockModels.Output, y);
        SessionRun.Run(Session, _runOptions, _binding, _what);
        _binding.SynchronizeBoundOutputs();
        _binding.ClearBoundInputs();
        _binding.ClearBoundOutputs();
    }

    public void Dispose()
    {
        _binding.Dispose();
        Session.Dispose();
        _runOptions.Dispose();
    }
}
