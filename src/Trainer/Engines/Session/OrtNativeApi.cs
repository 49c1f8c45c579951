using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>
/// The functions of ONNX Runtime's C API that the managed package does not expose. The API is a table of function pointers
/// whose positions never change (onnxruntime_c_api.h).
/// </summary>
internal static unsafe class OrtNativeApi
{
    /// <summary>C API version that brought AddExternalInitializersFromFilesInMemory (ONNX Runtime 1.18).</summary>
    private const uint ApiVersion = 18;

    private const int GetErrorMessageIndex = 2;
    private const int AllocatorAllocIndex = 75;
    private const int AllocatorFreeIndex = 76;
    private const int ReleaseStatusIndex = 93;
    private const int AddExternalInitializersFromFilesInMemoryIndex = 279;
    private const int GetKeyValueIndex = 297;
    private const int ReleaseKeyValuePairsIndex = 300;
    private const int AllocatorGetStatsIndex = 319;

    /// <summary>C API version that brought AllocatorGetStats.</summary>
    private const uint StatisticsVersion = 23;

    private static readonly Lazy<nint> Table = new(FindTable);
    private static readonly Lazy<nint> StatisticsTable = new(() => Ask(StatisticsVersion));

    /// <summary>
    /// Lets a session find external data in memory: where the model refers to a file of that name, the runtime reads the
    /// block instead (or uses it where it lies, under <c>session.use_external_initializer_file_buffers_directly</c>).
    /// </summary>
    /// <param name="options">Options of the session to come.</param>
    /// <param name="files">Name, address and byte length of each block; they must outlive the session.</param>
    /// <exception cref="EngineException">The runtime refused.</exception>
    internal static void AddExternalInitializersFromFilesInMemory(
        SessionOptions options, IReadOnlyList<(string Name, nint Address, long ByteLength)> files)
    {
        nint* names = (nint*)NativeMemory.AllocZeroed((nuint)files.Count, (nuint)sizeof(nint));
        try
        {
            nint[] addresses = [.. files.Select(f => f.Address)];
            nuint[] lengths = [.. files.Select(f => checked((nuint)f.ByteLength))];
            for (int i = 0; i < files.Count; i++)
            {
                // ORTCHAR_T is wchar_t on Windows and char elsewhere.
                names[i] = OperatingSystem.IsWindows() ? Marshal.StringToCoTaskMemUni(files[i].Name) : Marshal.StringToCoTaskMemUTF8(files[i].Name);
            }

            fixed (nint* address = addresses)
            fixed (nuint* length = lengths)
            {
                var add = (delegate* unmanaged[Stdcall]<nint, nint*, nint*, nuint*, nuint, nint>)Function(AddExternalInitializersFromFilesInMemoryIndex);
                ThrowIfFailed(add(options.DangerousGetHandle(), names, address, length, (nuint)files.Count), "the shared weights");
            }
        }
        finally
        {
            for (int i = 0; i < files.Count; i++)
            {
                Marshal.FreeCoTaskMem(names[i]);
            }

            NativeMemory.Free(names);
            GC.KeepAlive(options);
        }
    }

    /// <summary>Memory of an allocator, of any size: the managed allocator counts bytes in 32 bits.</summary>
    /// <returns>Its address on the allocator's device.</returns>
    internal static nint Allocate(OrtAllocator allocator, long byteLength)
    {
        var allocate = (delegate* unmanaged[Stdcall]<nint, nuint, nint*, nint>)Function(AllocatorAllocIndex);
        nint address;
        ThrowIfFailed(allocate(allocator.DangerousGetHandle(), checked((nuint)byteLength), &address), $"an allocation of {byteLength} bytes");
        GC.KeepAlive(allocator);
        return address;
    }

    /// <summary>Gives memory back to its allocator.</summary>
    internal static void Free(OrtAllocator allocator, nint address)
    {
        var free = (delegate* unmanaged[Stdcall]<nint, nint, nint>)Function(AllocatorFreeIndex);
        ThrowIfFailed(free(allocator.DangerousGetHandle(), address), "to take memory back");
        GC.KeepAlive(allocator);
    }

    /// <summary>What an arena holds; null where the runtime or the allocator does not count.</summary>
    internal static DeviceMemoryUsage? StatisticsOf(OrtAllocator allocator)
    {
        if (StatisticsTable.Value == 0)
        {
            return null;
        }

        nint* table = (nint*)StatisticsTable.Value;
        var get = (delegate* unmanaged[Stdcall]<nint, nint*, nint>)table[AllocatorGetStatsIndex];
        var value = (delegate* unmanaged[Stdcall]<nint, byte*, byte*>)table[GetKeyValueIndex];
        var release = (delegate* unmanaged[Stdcall]<nint, void>)table[ReleaseKeyValuePairsIndex];
        nint pairs;
        ThrowIfFailed(get(allocator.DangerousGetHandle(), &pairs), "to count its memory");
        GC.KeepAlive(allocator);
        try
        {
            return Number(pairs, "MaxInUse"u8) is long peak && Number(pairs, "TotalAllocated"u8) is long reserved ? new DeviceMemoryUsage(peak, reserved) : null;
        }
        finally
        {
            release(pairs);
        }

        long? Number(nint from, ReadOnlySpan<byte> key)
        {
            fixed (byte* name = key)
            {
                return long.TryParse(Marshal.PtrToStringUTF8((nint)value(from, name)), System.Globalization.CultureInfo.InvariantCulture, out long number) ? number : null;
            }
        }
    }

    private static void ThrowIfFailed(nint status, string what)
    {
        if (status == 0)
        {
            return;
        }

        var getMessage = (delegate* unmanaged[Stdcall]<nint, byte*>)Function(GetErrorMessageIndex);
        var release = (delegate* unmanaged[Stdcall]<nint, void>)Function(ReleaseStatusIndex);
        string message = Marshal.PtrToStringUTF8((nint)getMessage(status)) ?? "no message";
        release(status);
        throw new EngineException($"ONNX Runtime refused {what}: {message}");
    }

    private static nint Function(int index) => ((nint*)Table.Value)[index];

    private static nint FindTable()
    {
        nint table = Ask(ApiVersion);
        return table != 0
            ? table
            : throw new EngineException($"The ONNX Runtime library in use is older than 1.{ApiVersion}; install 1.{ApiVersion} or later.", isUserError: true);
    }

    /// <summary>The functions of a version; 0 where the library is older.</summary>
    private static nint Ask(uint version)
    {
        // The managed package resolves the native library's name for its own assembly; ask in its name.
        nint library = NativeLibrary.Load("onnxruntime", typeof(InferenceSession).Assembly, null);
        var getBase = (delegate* unmanaged[Stdcall]<nint*>)NativeLibrary.GetExport(library, "OrtGetApiBase");
        var getApi = (delegate* unmanaged[Stdcall]<uint, nint>)getBase()[0];
        return getApi(version);
    }
}
