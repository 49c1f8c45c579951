using System.Text.Json.Serialization;

namespace OrtQLoRA.Trainer.Benchmarks;

/// <summary>How long one implementation of an operator took.</summary>
/// <param name="Operators">The native operators whose work it does.</param>
/// <param name="Shape">Sizes, as text.</param>
/// <param name="Implementation">What did it: a native operator with its arithmetic, or standard operators.</param>
/// <param name="IsNative">Whether it is the native library's.</param>
/// <param name="Seconds">The median of all runs.</param>
/// <param name="FastestSeconds">The fastest run.</param>
/// <param name="Runs">Number of runs.</param>
/// <param name="TimesAsFast">The median of the first implementation in the same rows of the table, divided by this one's.</param>
public sealed record OperatorTiming(
    [property: JsonPropertyName("operators")] IReadOnlyList<string> Operators,
    [property: JsonPropertyName("shape")] string Shape,
    [property: JsonPropertyName("implementation")] string Implementation,
    [property: JsonPropertyName("native")] bool IsNative,
    [property: JsonPropertyName("seconds")] double Seconds,
    [property: JsonPropertyName("fastest_seconds")] double FastestSeconds,
    [property: JsonPropertyName("runs")] int Runs,
    [property: JsonPropertyName("times_as_fast")] double TimesAsFast)
{
    /// <summary>Multiplications and additions a second at the median, in billions; null where products are not what costs.</summary>
    [JsonPropertyName("gflops")]
    public double? GigaOperationsPerSecond { get; init; }

    /// <summary>The mode whose dot instruction bounds it: a key of <see cref="OperatorBenchmarkReport.Peaks"/>.</summary>
    [JsonPropertyName("peak")]
    public string? PeakName { get; init; }

    /// <summary>Share of that peak; null where it is not known.</summary>
    [JsonPropertyName("share_of_peak")]
    public double? ShareOfPeak { get; init; }
}
