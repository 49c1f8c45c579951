using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Recognises that memory ran out in ONNX Runtime, which has no error code for it.</summary>
internal static class OutOfMemory
{
    private static readonly string[] Signs =
        ["Failed to allocate memory", "bad_alloc", "bad allocation", "BFCArena", "out of memory", "CUDA failure 2", "OutOfMemory"];

    internal static bool IsMeantBy(EngineException e) => Signs.Any(s => e.Message.Contains(s, StringComparison.OrdinalIgnoreCase));
}
