using System.Runtime.InteropServices;
using System.Text;

namespace OrtQLoRA.Trainer.Engines;

/// <summary>What the NVIDIA driver says of a GPU, asked through its management library, which comes with every driver.</summary>
/// <param name="Index">Number of the GPU as the driver counts.</param>
/// <param name="Name">Name of the product.</param>
/// <param name="DriverVersion">Version of the driver.</param>
/// <param name="TotalBytes">Memory of the GPU.</param>
/// <param name="UsedBytes">Memory in use, by any program.</param>
public sealed record NvidiaDevice(int Index, string Name, string DriverVersion, long TotalBytes, long UsedBytes)
{
    private const int TextLength = 96;

    private static readonly Lazy<nint> Library = new(Open);

    private delegate int Initialize();

    private delegate int GetCount(out uint count);

    private delegate int GetHandle(uint index, out nint device);

    private delegate int GetName(nint device, byte[] text, uint length);

    private delegate int GetVersion(byte[] text, uint length);

    private delegate int GetMemory(nint device, out Memory memory);

    /// <summary>The GPUs of this machine; empty without an NVIDIA driver.</summary>
    public static IReadOnlyList<NvidiaDevice> All()
    {
        if (Library.Value == 0 || Call<GetCount>("nvmlDeviceGetCount_v2") is not { } getCount || getCount(out uint count) != 0)
        {
            return [];
        }

        return [.. Enumerable.Range(0, (int)count).Select(Find).OfType<NvidiaDevice>()];
    }

    /// <summary>One GPU; null if there is none of this number.</summary>
    public static NvidiaDevice? Find(int index)
    {
        if (index < 0 || Library.Value == 0
            || Call<GetHandle>("nvmlDeviceGetHandleByIndex_v2") is not { } getHandle || getHandle((uint)index, out nint device) != 0
            || Call<GetMemory>("nvmlDeviceGetMemoryInfo") is not { } getMemory || getMemory(device, out Memory memory) != 0)
        {
            return null;
        }

        byte[] name = new byte[TextLength];
        byte[] version = new byte[TextLength];
        _ = Call<GetName>("nvmlDeviceGetName")?.Invoke(device, name, TextLength);
        _ = Call<GetVersion>("nvmlSystemGetDriverVersion")?.Invoke(version, TextLength);
        return new NvidiaDevice(index, Text(name), Text(version), (long)memory.Total, (long)memory.Used);
    }

    private static string Text(byte[] bytes) => Encoding.UTF8.GetString(bytes, 0, Math.Max(0, Array.IndexOf(bytes, (byte)0)));

    private static T? Call<T>(string name)
        where T : Delegate =>
        NativeLibrary.TryGetExport(Library.Value, name, out nint address) ? Marshal.GetDelegateForFunctionPointer<T>(address) : null;

    private static nint Open()
    {
        string name = OperatingSystem.IsWindows() ? "nvml.dll" : "libnvidia-ml.so.1";
        if (!NativeLibrary.TryLoad(name, out nint library) || !NativeLibrary.TryGetExport(library, "nvmlInit_v2", out nint address))
        {
            return 0;
        }

        return Marshal.GetDelegateForFunctionPointer<Initialize>(address)() == 0 ? library : 0;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Memory
    {
        public ulong Total;
        public ulong Free;
        public ulong Used;
    }
}
