using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Evaluation;
using OrtQLoRA.Trainer.Schedules;

namespace OrtQLoRA.Samples;

/// <summary>
/// Instruction tuning: the demo's decoder learns to answer what an entry says, from prompts and completions; only the
/// answers count. Margin: half of the untrained loss on entries it has not seen.
/// </summary>
internal static class InstructionSample
{
    private const double Margin = 0.5;

    internal static bool Run(string folder)
    {
        (string train, string eval) = Logbook.Write(folder, e => new { prompt = $"{e.Text} Q: wind, glass? A:", completion = $" {e.Wind}, {e.Glass}" });
        TrainingOptions options = new()
        {
            Model = Logbook.Model,
            Tokenizer = Logbook.Tokenizer,
            Data = train,
            EvalData = eval,
            Out = Path.Combine(folder, "run"),
            Quantization = QuantizationKind.Eetq,
            Rank = 16,
            Alpha = 32,
            LearningRate = 5e-3,
            LearningRateSchedule = ScheduleKind.Linear,
            WarmupRatio = 0.05,
            Batch = 16,
            MaxSteps = 150,
        };
        using OnnxModel model = OnnxModelReader.Read(options.Model);
        EvaluationResult before = ModelEvaluator.Evaluate(model, eval, options);
        EvaluationResult after = QLoraTrainer.Run(options).Evaluation!;
        Console.WriteLine($"instruction: loss of held-out answers {before.Loss:F3} untrained, {after.Loss:F3} trained (margin: below {Margin * before.Loss:F3}).");
        return after.Loss < Margin * before.Loss;
    }
}
