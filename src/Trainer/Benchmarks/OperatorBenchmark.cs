using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Benchmarks;

/// <summary>
/// Times every native operator on the CPU beside what stock ONNX Runtime does in its place, and beside the chip's peak in the same run. Each
/// implementation has a session of its own, alone while it is timed; all of an operator's take turns, so that what disturbs the machine for a
/// while meets several.
/// </summary>
public static class OperatorBenchmark
{
    private const int Rounds = 2;

    private static readonly string[] PeakModes = ["fp32", "bf16", "int16", "int8"];

    /// <summary>Measures.</summary>
    /// <param name="library">The native library.</param>
    /// <param name="options">Sizes and operators.</param>
    /// <param name="callback">Is told the stages; null for nobody.</param>
    /// <exception cref="ConfigurationException">The options have faults; all are listed.</exception>
    public static OperatorBenchmarkReport Run(CustomOpLibrary library, OperatorBenchmarkOptions options, ITrainingCallback? callback = null)
    {
        string[] faults = [.. options.Faults()];
        if (faults.Length > 0)
        {
            throw new ConfigurationException(faults);
        }

        ITrainingCallback told = callback ?? NullCallback.Instance;
        int threads = options.Threads > 0 ? options.Threads : Environment.ProcessorCount;
        EngineOptions engine = new() { IntraOpThreads = threads, CustomOps = library };
        OperatorCase[] cases =
        [
            .. ProductCases.Create(options).Concat(new FusedCases(options).Create())
                .Where(c => options.Only.Count == 0 || c.Operators.Any(options.Only.Contains)),
        ];
        long weightBytes = (long)options.Shapes[0].K * options.Shapes[0].N;
        Dictionary<string, double> peaks = PeakModes.ToDictionary(m => m, m => library.MeasurePeak(m, threads) / 1e9);
        double read = library.MeasureReadRate(weightBytes, threads) / 1e9;
        List<(OperatorCase Case, IReadOnlyList<List<double>> Times)> measured = [];
        foreach (OperatorCase benchmark in cases)
        {
            told.OnStage($"{string.Join(" and ", benchmark.Operators)} {benchmark.Shape}");
            measured.Add((benchmark, Measure(benchmark, engine, options.Seconds / Rounds)));
        }

        // The better of before and after: either may have met a busy moment.
        foreach (string mode in PeakModes)
        {
            peaks[mode] = Math.Max(peaks[mode], library.MeasurePeak(mode, threads) / 1e9);
        }

        read = Math.Max(read, library.MeasureReadRate(weightBytes, threads) / 1e9);
        return new OperatorBenchmarkReport(
            library.CpuPath, threads, OrtEnv.Instance().GetVersionString(), peaks, read, [.. measured.SelectMany(m => Timings(m.Case, m.Times, peaks))]);
    }

    private static IReadOnlyList<List<double>> Measure(OperatorCase benchmark, EngineOptions engine, double seconds)
    {
        List<double>[] times = [.. benchmark.Contenders.Select(_ => new List<double>())];
        for (int round = 0; round < Rounds; round++)
        {
            for (int i = 0; i < times.Length; i++)
            {
                using OnnxModel model = benchmark.Contenders[i].Build();
                using ContenderSession session = new(model, engine, benchmark.Feed);
                times[i].AddRange(session.Time(seconds));
            }
        }

        return times;
    }

    private static IEnumerable<OperatorTiming> Timings(OperatorCase benchmark, IReadOnlyList<List<double>> times, Dictionary<string, double> peaks)
    {
        double first = Median(times[0]);
        return benchmark.Contenders.Select((contender, i) =>
        {
            double seconds = Median(times[i]);
            double? rate = benchmark.Operations > 0 ? benchmark.Operations / seconds / 1e9 : null;
            double peak = contender.Peak is null ? 0 : peaks.GetValueOrDefault(contender.Peak);
            return new OperatorTiming(benchmark.Operators, benchmark.Shape, contender.Name, contender.IsNative, seconds, times[i].Min(), times[i].Count, first / seconds)
            {
                GigaOperationsPerSecond = rate,
                PeakName = rate is null ? null : contender.Peak,
                ShareOfPeak = peak > 0 ? rate / peak : null,
            };
        });
    }

    private static double Median(List<double> times) => times.Order().ElementAt(times.Count / 2);
}
