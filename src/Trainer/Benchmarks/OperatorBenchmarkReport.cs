using System.Text.Json.Serialization;

namespace OrtQLoRA.Trainer.Benchmarks;

/// <summary>What <see cref="OperatorBenchmark"/> measured, and on what.</summary>
/// <param name="CpuPath">The instructions that the native operators used.</param>
/// <param name="Threads">Threads within an operator.</param>
/// <param name="OnnxRuntime">Version of ONNX Runtime.</param>
/// <param name="Peaks">
/// By compute mode, the best rate of its dot instruction out of registers in the same run, in billions of multiplications and additions a
/// second; 0 where the path has none.
/// </param>
/// <param name="ReadRate">Bytes a second, in billions, of a plain read of memory that was just read, as many as the first weight has.</param>
/// <param name="Results">The timings, implementations of one operator side by side.</param>
public sealed record OperatorBenchmarkReport(
    [property: JsonPropertyName("cpu_path")] string CpuPath,
    [property: JsonPropertyName("threads")] int Threads,
    [property: JsonPropertyName("onnxruntime")] string OnnxRuntime,
    [property: JsonPropertyName("peak_gflops")] IReadOnlyDictionary<string, double> Peaks,
    [property: JsonPropertyName("read_gigabytes_per_second")] double ReadRate,
    [property: JsonPropertyName("results")] IReadOnlyList<OperatorTiming> Results);
