using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Runs;

namespace OrtQLoRA.Trainer.Reports;

/// <summary>The key figures of a run, read from its folder.</summary>
public sealed class RunSummary
{
    /// <summary>Share of the last steps over which the final loss is a mean: single steps scatter.</summary>
    private const double LastShare = 0.1;

    private RunSummary(RunFolder folder, IReadOnlyList<StepMetrics> steps, JsonObject config, EvaluationResult? evaluation)
    {
        Folder = folder;
        Steps = steps;
        Config = config;
        Evaluation = evaluation;
    }

    /// <summary>The run.</summary>
    public RunFolder Folder { get; }

    /// <summary>Its steps; at least one.</summary>
    public IReadOnlyList<StepMetrics> Steps { get; }

    /// <summary>Its settings.</summary>
    public JsonObject Config { get; }

    /// <summary>The evaluation at its end, if there is one.</summary>
    public EvaluationResult? Evaluation { get; }

    /// <summary>Mean loss of the first tenth of the steps.</summary>
    public double FirstLoss => MeanLoss(Steps.Take(LastCount));

    /// <summary>Mean loss of the last tenth of the steps.</summary>
    public double FinalLoss => MeanLoss(Steps.Skip(Steps.Count - LastCount));

    /// <summary>The step with the lowest loss on eval data; null if none was evaluated.</summary>
    public StepMetrics? Best => Steps.Where(s => s.EvalLoss is not null).MinBy(s => s.EvalLoss);

    /// <summary>Wall time of all steps, in seconds.</summary>
    public double Seconds => Steps.Sum(s => s.Seconds);

    /// <summary>Tokens attended to in all steps.</summary>
    public long Tokens => Steps.Sum(s => s.Tokens);

    /// <summary>Tokens per second of wall time.</summary>
    public double TokensPerSecond => Seconds > 0 ? Tokens / Seconds : 0;

    private int LastCount => Math.Max(1, (int)Math.Ceiling(Steps.Count * LastShare));

    /// <summary>Reads a run.</summary>
    /// <exception cref="ConfigurationException">The folder holds no run, or the run has no steps.</exception>
    /// <exception cref="ModelFormatException">A file of it is malformed.</exception>
    public static RunSummary Read(string path)
    {
        RunFolder folder = RunFolder.Open(path);
        IReadOnlyList<StepMetrics> steps = MetricsFile.Read(folder.MetricsFile);
        return steps.Count == 0
            ? throw new ConfigurationException($"The run '{path}' has no steps in '{folder.MetricsFile}'.")
            : new RunSummary(folder, steps, ReadJson<JsonObject>(folder.ConfigFile)!, ReadJson<EvaluationResult>(folder.EvaluationFile));
    }

    /// <summary>Losses smoothed with an exponential mean, corrected for its start.</summary>
    internal IReadOnlyList<(double X, double Y)> SmoothedLosses()
    {
        LossAverage average = new();
        return [.. Steps.Where(s => double.IsFinite(s.Loss)).Select(s => ((double)s.Step, average.Add(s.Loss)))];
    }

    internal static T? ReadJson<T>(string path)
        where T : class
    {
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            return JsonSerializer.Deserialize<T>(File.ReadAllBytes(path));
        }
        catch (JsonException e)
        {
            throw new ModelFormatException($"'{path}' is malformed: {e.Message}", e);
        }
    }

    private static double MeanLoss(IEnumerable<StepMetrics> steps) =>
        steps.Where(s => double.IsFinite(s.Loss)).Select(s => s.Loss).DefaultIfEmpty(double.NaN).Average();
}
