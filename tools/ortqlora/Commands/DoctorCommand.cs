using System.CommandLine;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.CustomOps;
using OrtQLoRA.Trainer.Engines;
using Spectre.Console;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>doctor</c>: says what this machine and build offer, and what is missing.</summary>
internal static class DoctorCommand
{
    internal static Command Create(CommandContext context)
    {
        Command command = new("doctor", "Check the machine: runtime, ONNX Runtime, native operators, memory.");
        command.SetAction(_ => Run(context));
        return command;
    }

    private static int Run(CommandContext context)
    {
        Table table = new Table().AddColumns("What", "Found");
        foreach ((string what, string found) in Findings())
        {
            table.AddRow(new Text(what), new Text(found));
        }

        context.Tables.Write(table);
        return 0;
    }

    private static IEnumerable<(string What, string Found)> Findings()
    {
        yield return ("Operating system", $"{RuntimeInformation.OSDescription}, {RuntimeInformation.ProcessArchitecture}");
        yield return (".NET", RuntimeInformation.FrameworkDescription);
        yield return ("Processors", Environment.ProcessorCount.ToString(System.Globalization.CultureInfo.InvariantCulture));
        yield return ("Vector width", $"{System.Numerics.Vector<byte>.Count * 8} bits{Instructions()}");
        yield return ("Memory", $"{GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 1e9:F1} GB");
        yield return ("ONNX Runtime", $"{OrtEnv.Instance().GetVersionString()}, providers {string.Join(", ", OrtEnv.Instance().GetAvailableProviders())}");
        IReadOnlyList<NvidiaDevice> gpus = NvidiaDevice.All();
        foreach (NvidiaDevice gpu in gpus)
        {
            yield return ($"GPU {gpu.Index}", $"{gpu.Name}, {gpu.TotalBytes / 1e9:F1} GB, {gpu.UsedBytes / 1e9:F1} GB in use, driver {gpu.DriverVersion}");
        }

        yield return ("CUDA provider", ExecutionDevice.HasCudaProvider
            ? gpus.Count > 0 ? "yes: --device cuda" : "in this build, but the driver shows no NVIDIA GPU"
            : "no: build with -p:OrtFlavor=Gpu to train with --device cuda");
        yield return ("Portable operators", "yes: every graph trains on ONNX Runtime's own operators");
        yield return CustomOpLibrary.TryLoad(out CustomOpLibrary? library, out string? reason)
            ? ("Native operators", $"{library.Path}: {string.Join(", ", library.Operators)} ({library.CpuPath})")
            : ("Native operators", reason);
        if (library is not null)
        {
            yield return ("CUDA kernels", CudaKernels(library, gpus.Count));
        }
    }

    private static string CudaKernels(CustomOpLibrary library, int gpus)
    {
        if (library.CudaPath is null)
        {
            return library.CudaReason ?? "none";
        }

        string kernels = $"{library.CudaPath}: {string.Join(", ", library.CudaOperators)}";
        try
        {
            return $"{kernels}; {string.Join("; ", Enumerable.Range(0, gpus).Select(library.DescribeCudaDevice).DefaultIfEmpty("no GPU to run them"))}";
        }
        catch (NativeOpException e)
        {
            return $"{kernels}; they cannot run here: {e.Message}";
        }
    }

    private static string Instructions() =>
        System.Runtime.Intrinsics.X86.Avx512F.IsSupported ? ", AVX-512" : System.Runtime.Intrinsics.X86.Avx2.IsSupported ? ", AVX2" : "";
}
