using System.Globalization;
using OrtQLoRA.Trainer.Callbacks;

namespace OrtQLoRA.Cli;

/// <summary>The last lines of a training run.</summary>
internal static class TrainingSummary
{
    internal static void Write(CommandContext context, TrainingResult result)
    {
        StepMetrics first = result.Steps[0];
        StepMetrics last = result.Steps[^1];
        double seconds = result.Steps.Sum(s => s.Seconds);
        long tokens = result.Steps.Sum(s => s.Tokens);
        context.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"Trained {result.Steps.Count} steps in {seconds:F1} s ({tokens / Math.Max(seconds, 1e-9):N0} tokens/s): loss {first.Loss:F4} -> {last.Loss:F4}."));
        if (result.Evaluation is EvaluationResult evaluation)
        {
            WriteEvaluation(context, evaluation);
        }

        context.Output.WriteLine($"Run folder: {result.RunFolder}");
    }

    internal static void WriteEvaluation(CommandContext context, EvaluationResult evaluation)
    {
        string perplexity = evaluation.Perplexity is double p ? string.Create(CultureInfo.InvariantCulture, $", perplexity {p:F4}") : "";
        string accuracy = evaluation.Accuracy is double a ? string.Create(CultureInfo.InvariantCulture, $", accuracy {a:P2}") : "";
        context.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"Evaluation: loss {evaluation.Loss:F6}{perplexity}{accuracy} over {evaluation.CountedTargets} targets of {evaluation.Examples} examples."));
    }
}
