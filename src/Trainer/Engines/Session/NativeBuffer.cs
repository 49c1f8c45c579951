using System.Runtime.InteropServices;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Zeroed memory outside the garbage collector's heap, aligned to 64 bytes: it never moves, so sessions may keep its address.</summary>
internal sealed unsafe class NativeBuffer : SafeHandle
{
    private const nuint Alignment = 64;

    internal NativeBuffer(long byteLength)
        : base(0, ownsHandle: true)
    {
        ByteLength = byteLength;
        SetHandle((nint)NativeMemory.AlignedAlloc(checked((nuint)Math.Max(byteLength, 1)), Alignment));
        NativeMemory.Clear((void*)handle, (nuint)byteLength);
        GC.AddMemoryPressure(Math.Max(byteLength, 1));
    }

    public override bool IsInvalid => handle == 0;

    internal long ByteLength { get; }

    internal nint Address => !IsClosed ? handle : throw new ObjectDisposedException(nameof(NativeBuffer));

    /// <summary>A part of the buffer.</summary>
    internal Span<T> Span<T>(long start, long length)
        where T : unmanaged
    {
        long end = checked((start + length) * sizeof(T));
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(end, ByteLength);
        return new Span<T>((T*)Address + start, checked((int)length));
    }

    /// <summary>Sets every byte to zero.</summary>
    internal void Clear() => NativeMemory.Clear((void*)Address, (nuint)ByteLength);

    protected override bool ReleaseHandle()
    {
        NativeMemory.AlignedFree((void*)handle);
        GC.RemoveMemoryPressure(Math.Max(ByteLength, 1));
        return true;
    }
}
