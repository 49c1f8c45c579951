namespace OrtQLoRA.Trainer.Training;

/// <summary>Times of training steps.</summary>
/// <param name="Seconds">Wall time of each step.</param>
/// <param name="TokensPerStep">Tokens of a step.</param>
/// <param name="PeakBytes">Largest resident memory of the process so far.</param>
/// <param name="TrainableParameters">Numbers that were trained.</param>
/// <param name="Loss">Loss of the last step.</param>
public sealed record StepBenchmarkResult(IReadOnlyList<double> Seconds, long TokensPerStep, long PeakBytes, long TrainableParameters, double Loss)
{
    /// <summary>By how much the memory in use on the GPU grew until the end; null on the processor. Arenas never shrink, so it is the peak.</summary>
    public long? DeviceBytes { get; init; }

    /// <summary>The most bytes that tensors took on the GPU at a time, without what the CUDA libraries take; null on the processor and without native operators.</summary>
    public long? DevicePeakBytes { get; init; }

    /// <summary>The median of the step times: unlike the mean, it does not see a step that something else disturbed.</summary>
    public double MedianSeconds => Seconds.Order().ElementAt(Seconds.Count / 2);

    /// <summary>Tokens a second at the median.</summary>
    public double TokensPerSecond => TokensPerStep / MedianSeconds;
}
