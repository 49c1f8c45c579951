using Microsoft.ML.OnnxRuntime;

namespace OrtQLoRA.Trainer.Engines.OrtTraining;

/// <summary>Whether the ONNX Runtime in use has the training API.</summary>
internal static class TrainingRuntime
{
    private const string Package = "Microsoft.ML.OnnxRuntime.Training";

    private static readonly Lazy<string?> Missing = new(FindFault);

    /// <summary>Whether training sessions can be made.</summary>
    internal static bool IsAvailable => Missing.Value is null;

    /// <summary>Stops if they cannot.</summary>
    /// <exception cref="EngineException">The runtime was built without the training API; names the package that has it.</exception>
    internal static void Require()
    {
        if (Missing.Value is string fault)
        {
            throw new EngineException(
                $"The engine ort-training needs ONNX Runtime's training API, which the native library in use (ONNX Runtime {OrtEnv.Instance().GetVersionString()}) was built without. "
                + $"Build with -p:OrtFlavor=Training, which takes the package {Package} 1.19.2 (CPU), or train with --engine session. The runtime says: {fault}",
                isUserError: true);
        }
    }

    private static string? FindFault()
    {
        try
        {
            // A path that names no file: a runtime with the training API fails over the file, one without it over the call.
            CheckpointState.LoadCheckpoint(Path.Combine(Path.GetTempPath(), Path.GetRandomFileName())).Dispose();
            return null;
        }
        catch (OnnxRuntimeException)
        {
            return null;
        }
        catch (Exception e) when (e is InvalidOperationException or TypeInitializationException or EntryPointNotFoundException)
        {
            return (e.InnerException ?? e).Message;
        }
    }
}
