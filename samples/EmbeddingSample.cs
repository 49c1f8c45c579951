using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Evaluation;
using OrtQLoRA.Trainer.Schedules;

namespace OrtQLoRA.Samples;

/// <summary>
/// An embedding model: entries of the logbook and how someone tells of them come near each other, with the other pairs of the
/// batch as negatives. Margin: 20 points more of the held-out entries find their own telling first.
/// </summary>
internal static class EmbeddingSample
{
    private const double Margin = 0.2;

    internal static bool Run(string folder)
    {
        (string train, string eval) = Logbook.Write(folder, e => new { anchor = e.Text, positive = $"On {e.Date} it blew {e.Wind} and the glass stood at {e.Glass}." });
        string encoder = Path.Combine(folder, "encoder.onnx");
        using (OnnxModel decoder = OnnxModelReader.Read(Logbook.Model))
        {
            HiddenStates.Expose(decoder);
            OnnxModelWriter.Write(decoder, encoder);
        }

        TrainingOptions options = new()
        {
            Task = TrainingTask.Embedding,
            Model = encoder,
            Tokenizer = Logbook.Tokenizer,
            Data = train,
            EvalData = eval,
            Out = Path.Combine(folder, "run"),
            Rank = 16,
            Alpha = 32,
            LearningRate = 5e-3,
            LearningRateSchedule = ScheduleKind.Linear,
            WarmupRatio = 0.05,
            Batch = 40,
            MaxSteps = 80,
        };
        using OnnxModel model = OnnxModelReader.Read(encoder);
        EvaluationResult before = ModelEvaluator.Evaluate(model, eval, options);
        EvaluationResult after = QLoraTrainer.Run(options).Evaluation!;
        Console.WriteLine($"embedding: {before.Accuracy:P0} of held-out entries find their telling among 40 untrained, {after.Accuracy:P0} trained (margin: {Margin * 100:F0} points more).");
        return after.Accuracy >= before.Accuracy + Margin;
    }
}
