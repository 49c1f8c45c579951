using System.Globalization;

namespace OrtQLoRA.Trainer.Training;

/// <summary>What a run will take, told before its first step.</summary>
/// <param name="FrozenBytes">Frozen weights, quantized where they are quantized.</param>
/// <param name="PrepackedBytes">Second copies of frozen float weights in the layout that matrix products like best; 0 without them.</param>
/// <param name="TrainedBytes">Trained parameters with their gradients and optimizer states.</param>
/// <param name="ActivationBytes">Values of the graph for the largest part of a batch that passes it at a time.</param>
/// <param name="PartTokens">Tokens of that part, padding included.</param>
/// <param name="AvailableBytes">Memory that this process may have.</param>
/// <param name="PeakBytes">Memory that the process took while steps were tried; null if none was.</param>
/// <param name="TotalSteps">Optimizer steps of the run.</param>
/// <param name="SecondsPerStep">Time of a step, measured; null if none was tried.</param>
/// <param name="TokensPerStep">Tokens of a step, padding not counted, on average.</param>
/// <param name="TrainableParameters">Numbers that training changes.</param>
public sealed record TrainingEstimate(
    long FrozenBytes,
    long PrepackedBytes,
    long TrainedBytes,
    long ActivationBytes,
    long PartTokens,
    long AvailableBytes,
    long? PeakBytes,
    long TotalSteps,
    double? SecondsPerStep,
    double TokensPerStep,
    long TrainableParameters)
{
    /// <summary>Memory of all that is counted.</summary>
    public long TotalBytes => FrozenBytes + PrepackedBytes + TrainedBytes + ActivationBytes;

    /// <summary>Whether what is counted fits.</summary>
    public bool Fits => TotalBytes <= AvailableBytes;

    /// <summary>Time of all steps; null if none was tried.</summary>
    public TimeSpan? Duration => SecondsPerStep is double seconds ? TimeSpan.FromSeconds(Math.Round(seconds * TotalSteps)) : null;

    /// <summary>What would take less memory, with numbers, the most effective first.</summary>
    public IReadOnlyList<string> Advice()
    {
        List<(long Saved, string Text)> advice =
        [
            (ActivationBytes / 2, $"--chunk-tokens {Math.Max(1, PartTokens / 2)} (a part has {PartTokens} tokens now) saves about {Megabytes(ActivationBytes / 2)} of activations, if rows are short enough for it; --max-length cuts rows"),
        ];
        if (PrepackedBytes > 0)
        {
            advice.Add((PrepackedBytes, $"--no-prepack saves up to {Megabytes(PrepackedBytes)} of second copies of frozen weights, for some speed"));
            advice.Add((PrepackedBytes * 3 / 4, $"--quant eetq keeps the linear layers' weights in int8 and saves up to {Megabytes(PrepackedBytes * 3 / 4)} of frozen weights, and their second copies"));
        }

        advice.Add((ActivationBytes / 2, "--gradient-checkpointing keeps few values between layers, for about a third more time"));
        advice.Add((TrainedBytes / 2, $"half the --rank saves {Megabytes(TrainedBytes / 2)} of trained parameters, gradients and optimizer states"));
        return [.. advice.Where(a => a.Saved > 1 << 20).OrderByDescending(a => a.Saved).Select(a => a.Text)];
    }

    /// <summary>The estimate in lines for a person.</summary>
    public IEnumerable<string> Describe()
    {
        yield return $"Frozen weights:  {Megabytes(FrozenBytes)}" + (PrepackedBytes > 0 ? $", and up to {Megabytes(PrepackedBytes)} of copies for faster products" : "");
        yield return string.Create(CultureInfo.InvariantCulture, $"Trained:         {Megabytes(TrainedBytes)} for {TrainableParameters:N0} parameters with gradients and optimizer states");
        yield return $"Activations:     {Megabytes(ActivationBytes)} for a part of {PartTokens} tokens";
        yield return $"Memory:          about {Megabytes(TotalBytes)} of {Megabytes(AvailableBytes)}" + (PeakBytes is long peak ? $"; measured with the program itself: {Megabytes(peak)}" : "");
        yield return SecondsPerStep is double seconds
            ? string.Create(CultureInfo.InvariantCulture, $"Time:            {TotalSteps} steps of about {TokensPerStep:N0} tokens, {seconds:F3} s each: {Duration:c}")
            : $"Time:            not measured, since the memory does not suffice";
        if (!Fits)
        {
            yield return "This does not fit. What would help:";
            foreach (string line in Advice())
            {
                yield return $"  {line}";
            }
        }
    }

    private static string Megabytes(long bytes) =>
        bytes >= 10_000_000_000 ? string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:F1} GB") : string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:F1} MB");
}
