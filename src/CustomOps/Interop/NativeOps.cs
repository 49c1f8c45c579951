using System.Runtime.InteropServices;
using System.Text;

namespace OrtQLoRA.CustomOps.Interop;

/// <summary>
/// The C functions of a loaded library (<c>cuda-ops/include/ortqlora.h</c>). Each returns a status and writes a message; one
/// place turns them into exceptions.
/// </summary>
internal sealed unsafe class NativeOps
{
    private const int Ok = 0;
    private const int BufferTooSmall = 2;
    private const int ErrorCapacity = 1024;

    private readonly nint _library;

    internal NativeOps(nint library)
    {
        _library = library;
    }

    internal int AbiVersion()
    {
        var function = (delegate* unmanaged[Cdecl]<int*, byte*, long, int>)Export("ortqlora_abi_version");
        int version;
        byte* error = stackalloc byte[ErrorCapacity];
        ThrowIfFailed("ortqlora_abi_version", function(&version, error, ErrorCapacity), error);
        return version;
    }

    /// <summary>The instructions that kernels use on this machine, for example <c>avx512_vnni</c>.</summary>
    internal string CpuPath() => Text("ortqlora_cpu_path");

    /// <summary>Names of the library's operators.</summary>
    internal IReadOnlyList<string> OpNames() => Text("ortqlora_op_names").Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Peak of a compute mode's dot instruction, operations a second.</summary>
    internal double Peak(string compute, int threads)
    {
        const string name = "ortqlora_peak";
        var function = (delegate* unmanaged[Cdecl]<byte*, int, double*, byte*, long, int>)Export(name);
        byte* error = stackalloc byte[ErrorCapacity];
        double rate = 0;
        fixed (byte* mode = Encoding.UTF8.GetBytes(compute + "\0"))
        {
            ThrowIfFailed(name, function(mode, threads, &rate, error, ErrorCapacity), error);
        }

        return rate;
    }

    /// <summary>Rate of a plain read, bytes a second.</summary>
    internal double ReadRate(long bytes, int threads)
    {
        const string name = "ortqlora_read_rate";
        var function = (delegate* unmanaged[Cdecl]<long, int, double*, byte*, long, int>)Export(name);
        byte* error = stackalloc byte[ErrorCapacity];
        double rate = 0;
        ThrowIfFailed(name, function(bytes, threads, &rate, error, ErrorCapacity), error);
        return rate;
    }

    /// <summary>The file with the CUDA kernels; fails with the reason where there is none.</summary>
    internal string CudaLibrary() => Text("ortqlora_cuda_library");

    /// <summary>Names of the operators that have CUDA kernels.</summary>
    internal IReadOnlyList<string> CudaOpNames() => Text("ortqlora_cuda_op_names").Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Name, compute capability, driver and runtime of a CUDA device.</summary>
    internal string CudaDevice(int id)
    {
        var function = (delegate* unmanaged[Cdecl]<int, byte*, long, long*, byte*, long, int>)Export("ortqlora_cuda_device");
        return Text("ortqlora_cuda_device", (nint buffer, long capacity, long* required, byte* error)
            => function(id, (byte*)buffer, capacity, required, error, ErrorCapacity));
    }

    /// <summary>Packs an int8 weight into memory that starts at a multiple of 64 bytes and never moves.</summary>
    internal ReadOnlyMemory<byte> PackWeight(ReadOnlySpan<byte> q, string layout, long k, long n, string target)
    {
        const string name = "ortqlora_pack_weight";
        var function = (delegate* unmanaged[Cdecl]<byte*, long, byte*, long, long, byte*, byte*, long, long*, byte*, long, int>)Export(name);
        byte* error = stackalloc byte[ErrorCapacity];
        byte[] layoutName = Encoding.UTF8.GetBytes(layout + "\0");
        byte[] targetName = Encoding.UTF8.GetBytes(target + "\0");
        long required = 0;
        fixed (byte* from = q, layoutStart = layoutName, targetStart = targetName)
        {
            int status = function(from, q.Length, layoutStart, k, n, targetStart, null, 0, &required, error, ErrorCapacity);
            if (status != BufferTooSmall)
            {
                ThrowIfFailed(name, status, error);
            }

            Memory<byte> packed = Aligned(checked((int)required));
            fixed (byte* to = packed.Span)
            {
                // An empty weight has no address, but a buffer it needs.
                byte nothing;
                ThrowIfFailed(name, function(from, q.Length, layoutStart, k, n, targetStart, to is null ? &nothing : to, packed.Length, &required, error, ErrorCapacity), error);
            }

            return packed;
        }
    }

    private static Memory<byte> Aligned(int length)
    {
        const int alignment = 64;
        byte[] memory = GC.AllocateUninitializedArray<byte>(length + alignment - 1, pinned: true);
        int skipped = (int)(-Marshal.UnsafeAddrOfPinnedArrayElement(memory, 0) & (alignment - 1));
        return memory.AsMemory(skipped, length);
    }

    private delegate int TextFunction(nint buffer, long capacity, long* required, byte* error);

    private string Text(string name)
    {
        var function = (delegate* unmanaged[Cdecl]<byte*, long, long*, byte*, long, int>)Export(name);
        return Text(name, (nint buffer, long capacity, long* required, byte* error) => function((byte*)buffer, capacity, required, error, ErrorCapacity));
    }

    private static string Text(string name, TextFunction function)
    {
        byte* error = stackalloc byte[ErrorCapacity];
        long required = 0;
        int status = function(0, 0, &required, error);
        if (status != BufferTooSmall)
        {
            ThrowIfFailed(name, status, error);
        }

        byte[] buffer = new byte[checked((int)Math.Max(required, 1))];
        fixed (byte* start = buffer)
        {
            ThrowIfFailed(name, function((nint)start, buffer.Length, &required, error), error);
        }

        return Encoding.UTF8.GetString(buffer.AsSpan(0, Math.Max(0, buffer.AsSpan().IndexOf((byte)0))));
    }

    private nint Export(string name) => NativeLibrary.TryGetExport(_library, name, out nint address)
        ? address
        : throw new NativeOpException($"The native library has no function '{name}'; it is no OrtQLoRA library, or an old one. Build it again from cuda-ops.");

    private static void ThrowIfFailed(string name, int status, byte* error)
    {
        if (status != Ok)
        {
            throw new NativeOpException($"The native library's {name} failed with status {status}: {Marshal.PtrToStringUTF8((nint)error)}");
        }
    }
}
