namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Gives memory of the device on which an engine's sessions run.</summary>
internal interface IArenaAllocator : IDisposable
{
    /// <summary>Allocates zeroed memory; it must be disposed before the allocator.</summary>
    /// <param name="length">Number of floats.</param>
    IArenaMemory Allocate(long length);
}
