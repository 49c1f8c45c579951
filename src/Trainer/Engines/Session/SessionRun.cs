using Microsoft.ML.OnnxRuntime;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Runs a bound session and turns the runtime's errors into ours.</summary>
internal static class SessionRun
{
    internal static void Run(InferenceSession session, RunOptions options, OrtIoBinding binding, string what)
    {
        try
        {
            session.RunWithBinding(options, binding);
        }
        catch (OnnxRuntimeException e)
        {
            throw Error($"the {what}", e);
        }
    }

    /// <summary>The runtime's error as ours, with a remedy where one is known.</summary>
    internal static EngineException Error(string what, OnnxRuntimeException e)
    {
        bool outOfRange = e.Message.Contains("out of data bounds", StringComparison.Ordinal)
            || e.Message.Contains("out of range", StringComparison.OrdinalIgnoreCase);
        string remedy = outOfRange
            ? " An index lies outside a table: token ids must lie in the vocabulary, and lines must not be longer than the positions the model knows (cut them with --max-length)."
            : "";
        return new EngineException($"ONNX Runtime failed in {what}: {e.Message}{remedy}", e, outOfRange);
    }
}
