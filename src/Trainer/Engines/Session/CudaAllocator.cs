using Microsoft.ML.OnnxRuntime;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>
/// Memory of a GPU. ONNX Runtime's CUDA provider does all that touches it: its allocator gives the memory, and sessions of
/// one node copy, clear and measure it, so that the program needs no CUDA library of its own.
/// </summary>
internal sealed class CudaAllocator : IArenaAllocator
{
    internal CudaAllocator(SessionFactory factory, ExecutionDevice device)
    {
        Info = new OrtMemoryInfo(OrtMemoryInfo.allocatorCUDA, OrtAllocatorType.DeviceAllocator, device.Index, OrtMemType.Default);
        Copy = new BlockSession(factory, BlockModels.Copy(), "copy");
        Fill = new BlockSession(factory, BlockModels.Zeros(), "clearing");
        Norm = new BlockSession(factory, BlockModels.SumOfSquares(), "norm");
        Memory = new OrtAllocator(Copy.Session, Info);
    }

    /// <summary>The GPU's memory.</summary>
    internal OrtMemoryInfo Info { get; }

    /// <summary>The arena that gives it.</summary>
    internal OrtAllocator Memory { get; }

    /// <summary>y = x, between the host and the device.</summary>
    internal BlockSession Copy { get; }

    /// <summary>Zeros in a given number.</summary>
    internal BlockSession Fill { get; }

    /// <summary>Sum of squares.</summary>
    internal BlockSession Norm { get; }

    public IArenaMemory Allocate(long length)
    {
        CudaMemory memory = new(this, OrtNativeApi.Allocate(Memory, checked(length * sizeof(float))), length);
        memory.Clear();
        return memory;
    }

    /// <summary>Memory of the device, not cleared.</summary>
    /// <returns>Its address.</returns>
    internal nint AllocateBytes(long byteLength) => OrtNativeApi.Allocate(Memory, Math.Max(1, byteLength));

    internal void Free(nint address) => OrtNativeApi.Free(Memory, address);

    public void Dispose()
    {
        Memory.Dispose();
        Norm.Dispose();
        Fill.Dispose();
        Copy.Dispose();
        Info.Dispose();
    }
}
