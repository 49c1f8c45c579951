using Microsoft.ML.OnnxRuntime;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>
/// One CPU memory arena for all sessions of the process: training, eval and optimizer never run at the same time, so they
/// can use the same memory. It grows by what is asked for; ONNX Runtime's default doubles, which may reserve twice the need.
/// </summary>
internal static class SharedAllocator
{
    private const int SameAsRequested = 1;
    private static readonly Lock Gate = new();
    private static bool Registered;

    internal static void Register()
    {
        lock (Gate)
        {
            if (Registered)
            {
                return;
            }

            using OrtMemoryInfo memory = new(OrtMemoryInfo.allocatorCPU, OrtAllocatorType.ArenaAllocator, 0, OrtMemType.Default);
            using OrtArenaCfg arena = new(maxMemory: 0, arenaExtendStrategy: SameAsRequested, initialChunkSizeBytes: -1, maxDeadBytesPerChunk: -1);
            try
            {
                OrtEnv.Instance().CreateAndRegisterAllocator(memory, arena);
            }
            catch (OnnxRuntimeException e) when (e.Message.Contains("already", StringComparison.OrdinalIgnoreCase))
            {
                // The host program registered one of its own: sessions share that.
            }

            Registered = true;
        }
    }
}
