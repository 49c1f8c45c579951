using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.CustomOps.Interop;

namespace OrtQLoRA.CustomOps;

/// <summary>
/// The native library of our operators: found, loaded and checked once, then registered with each session. Without it,
/// graphs of standard operators still train (<c>--ops portable</c>).
/// </summary>
public sealed class CustomOpLibrary
{
    /// <summary>Environment variable that names the library's file, before any other place.</summary>
    public const string PathVariable = "ORTQLORA_OPS_LIBRARY";

    /// <summary>Version of the C functions that this assembly calls; the library must have the same.</summary>
    public const int AbiVersion = 2;

    private static readonly Lazy<(CustomOpLibrary? Library, string? Reason)> Found = new(() => Find(Environment.GetEnvironmentVariable(PathVariable)));

    private readonly NativeOps _native;

    private CustomOpLibrary(string path, NativeOps native)
    {
        _native = native;
        Path = path;
        CpuPath = native.CpuPath();
        Operators = native.OpNames();
        try
        {
            CudaPath = native.CudaLibrary();
            CudaOperators = native.CudaOpNames();
        }
        catch (NativeOpException e)
        {
            CudaReason = e.Message;
        }
    }

    /// <summary>The file that was loaded.</summary>
    public string Path { get; }

    /// <summary>The instructions that CPU kernels use on this machine, for example <c>avx512_vnni</c>.</summary>
    public string CpuPath { get; }

    /// <summary>Names of the operators it registers.</summary>
    public IReadOnlyList<string> Operators { get; }

    /// <summary>
    /// The file with the CUDA kernels (<c>libortqlora_ops_cuda.so</c>, <c>ortqlora_ops_cuda.dll</c>), which <see cref="Register"/>
    /// registers along with the CPU's; null where there is none. It stands beside <see cref="Path"/>, or where the environment
    /// variable <c>ORTQLORA_CUDA_LIBRARY</c> says. Loading it touches no device.
    /// </summary>
    public string? CudaPath { get; }

    /// <summary>Names of the operators that have CUDA kernels; empty where <see cref="CudaPath"/> is null.</summary>
    public IReadOnlyList<string> CudaOperators { get; } = [];

    /// <summary>Layout in which the CPU kernels read an int8 weight where it is.</summary>
    public const string PanelLayout = "panel64";

    /// <summary>Layout in which the CUDA kernels read an int8 weight where it is.</summary>
    public const string TileLayout = "tile64";

    /// <summary>Why there are no CUDA kernels, where <see cref="CudaPath"/> is null.</summary>
    public string? CudaReason { get; }

    /// <summary>File name of the library on this operating system.</summary>
    public static string FileName => OperatingSystem.IsWindows() ? "ortqlora_ops.dll"
        : OperatingSystem.IsMacOS() ? "libortqlora_ops.dylib"
        : "libortqlora_ops.so";

    /// <summary>Finds and loads the library.</summary>
    /// <param name="library">The library, if it can be used.</param>
    /// <param name="reason">Why it cannot be used: absent, or of another version.</param>
    public static bool TryLoad([NotNullWhen(true)] out CustomOpLibrary? library, [NotNullWhen(false)] out string? reason)
    {
        (library, reason) = Found.Value;
        return library is not null;
    }

    /// <summary>Finds and loads the library.</summary>
    /// <exception cref="NativeOpException">It is absent or of another version.</exception>
    public static CustomOpLibrary Load() => TryLoad(out CustomOpLibrary? library, out string? reason) ? library : throw new NativeOpException(reason);

    /// <summary>Describes a CUDA device as the kernels see it: name, compute capability, driver and runtime.</summary>
    /// <param name="id">Index of the device.</param>
    /// <exception cref="NativeOpException">There are no CUDA kernels, no such device, or its driver is too old.</exception>
    public string DescribeCudaDevice(int id) => _native.CudaDevice(id);

    /// <summary>
    /// Packs an int8 weight [K, N] into the layout that kernels read where it is: <see cref="PanelLayout"/> on the CPU,
    /// <see cref="TileLayout"/> on CUDA. A weight in any other layout they pack themselves, beside the initializer.
    /// </summary>
    /// <param name="q">The weight's bytes.</param>
    /// <param name="layout">What they are in: <c>plain</c>, <c>eetq_sm80</c>, <c>tile64</c> or <c>panel64</c>.</param>
    /// <param name="k">Logical rows.</param>
    /// <param name="n">Logical columns.</param>
    /// <param name="target"><see cref="PanelLayout"/> or <see cref="TileLayout"/>.</param>
    /// <returns>
    /// One byte a weight, K and N rounded up to multiples of 16 (panel64) or 128 (tile64), in memory that starts at a multiple of 64
    /// bytes and never moves.
    /// </returns>
    /// <exception cref="NativeOpException">A layout is unknown, or the sizes disagree with the bytes.</exception>
    public ReadOnlyMemory<byte> PackWeight(ReadOnlySpan<byte> q, string layout, long k, long n, string target) => _native.PackWeight(q, layout, k, n, target);

    /// <summary>Measures the chip's peak for products in a compute mode: its dot instruction out of registers. Takes some milliseconds.</summary>
    /// <param name="compute">A mode: <c>fp32</c>, <c>bf16</c>, <c>int16</c> or <c>int8</c>.</param>
    /// <param name="threads">Threads at once; 0 for one a hardware thread.</param>
    /// <returns>Multiplications and additions a second; 0 where <see cref="CpuPath"/> has no such loop.</returns>
    /// <exception cref="NativeOpException">The mode is unknown.</exception>
    public double MeasurePeak(string compute, int threads) => _native.Peak(compute, threads);

    /// <summary>Measures a plain read of memory that was just read.</summary>
    /// <param name="bytes">How much memory.</param>
    /// <param name="threads">Threads at once; 0 for one a hardware thread.</param>
    /// <returns>Bytes a second; 0 where <see cref="CpuPath"/> has no such loop, or there is too little memory to share.</returns>
    public double MeasureReadRate(long bytes, int threads) => _native.ReadRate(bytes, threads);

    /// <summary>Registers the operators with sessions created from <paramref name="options"/>.</summary>
    /// <exception cref="NativeOpException">ONNX Runtime refused the library.</exception>
    public void Register(SessionOptions options)
    {
        try
        {
            options.RegisterCustomOpLibraryV2(Path, out _);
        }
        catch (OnnxRuntimeException e)
        {
            throw new NativeOpException($"ONNX Runtime refused the native library '{Path}': {e.Message}", e);
        }
    }

    internal static (CustomOpLibrary? Library, string? Reason) Find(string? named)
    {
        if (!string.IsNullOrEmpty(named))
        {
            return File.Exists(named)
                ? Open(System.IO.Path.GetFullPath(named))
                : (null, $"{PathVariable} names '{named}', which does not exist.");
        }

        string[] places = [.. Places()];
        string? path = places.FirstOrDefault(File.Exists);
        return path is not null
            ? Open(path)
            : (null, $"The native library {FileName} is not there; build it from cuda-ops, set {PathVariable} to its path, or use --ops portable. "
                + $"Looked in {string.Join(" and ", places.Select(p => $"'{System.IO.Path.GetDirectoryName(p)}'"))}.");
    }

    private static IEnumerable<string> Places()
    {
        string folder = AppContext.BaseDirectory;
        yield return System.IO.Path.Combine(folder, FileName);
        yield return System.IO.Path.Combine(folder, "runtimes", RuntimeInformation.RuntimeIdentifier, "native", FileName);
    }

    private static (CustomOpLibrary? Library, string? Reason) Open(string path)
    {
        nint handle;
        try
        {
            handle = NativeLibrary.Load(path);
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
        {
            return (null, $"The native library '{path}' cannot be loaded: {e.Message}");
        }

        try
        {
            NativeOps native = new(handle);
            int version = native.AbiVersion();
            return version == AbiVersion
                ? (new CustomOpLibrary(path, native), null)
                : (null, $"The native library '{path}' has interface version {version}, this program needs {AbiVersion}; build both from the same source.");
        }
        catch (NativeOpException e)
        {
            NativeLibrary.Free(handle);
            return (null, $"The native library '{path}' cannot be used. {e.Message}");
        }
    }
}
