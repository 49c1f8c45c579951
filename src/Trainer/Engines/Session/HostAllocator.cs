namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Memory of the process.</summary>
internal sealed class HostAllocator : IArenaAllocator
{
    public IArenaMemory Allocate(long length) => new HostMemory(length);

    public void Dispose()
    {
        // Blocks own their memory themselves.
    }
}
