using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Evaluation;
using OrtQLoRA.Trainer.Schedules;

namespace OrtQLoRA.Samples;

/// <summary>
/// A text classifier: the demo's decoder with a new head tells whether an entry speaks of dry, wet or thick weather. Margin: 30
/// points more of the held-out entries right than with the untrained head.
/// </summary>
internal static class ClassifierSample
{
    private const double Margin = 0.3;

    private static readonly string[] Classes = ["wet", "dry", "thick"];

    internal static bool Run(string folder)
    {
        (string train, string eval) = Logbook.Write(folder, e => new { text = e.Text, label = Classes[e.Sky is "rain" or "showers" or "snow" ? 0 : e.Sky is "clear" or "cloudy" ? 1 : 2] });
        string classifier = Path.Combine(folder, "classifier.onnx");
        using (OnnxModel decoder = OnnxModelReader.Read(Logbook.Model))
        {
            AddHead(decoder);
            OnnxModelWriter.Write(decoder, classifier);
        }

        TrainingOptions options = new()
        {
            Task = TrainingTask.SequenceClassification,
            Model = classifier,
            Tokenizer = Logbook.Tokenizer,
            Data = train,
            EvalData = eval,
            Labels = Classes,
            Out = Path.Combine(folder, "run"),
            ExcludeModules = ModuleSelector.OfNames(["score"]),
            ModulesToSave = ["score"],
            Rank = 16,
            Alpha = 32,
            LearningRate = 5e-3,
            LearningRateSchedule = ScheduleKind.Linear,
            WarmupRatio = 0.05,
            Batch = 16,
            MaxSteps = 150,
        };
        using OnnxModel model = OnnxModelReader.Read(classifier);
        EvaluationResult before = ModelEvaluator.Evaluate(model, eval, options);
        EvaluationResult after = QLoraTrainer.Run(options).Evaluation!;
        Console.WriteLine($"classifier: {before.Accuracy:P0} of held-out entries right untrained, {after.Accuracy:P0} trained (margin: {Margin * 100:F0} points more).");
        return after.Accuracy >= before.Accuracy + Margin;
    }

    /// <summary>A linear layer over the mean of the hidden states, zero at first.</summary>
    private static void AddHead(OnnxModel model)
    {
        OnnxGraph graph = model.Graph;
        Value hidden = HiddenStates.Expose(model);
        graph.RemoveOutput(hidden);
        GraphBuilder b = new(graph, model.Opset) { Scope = "score/" };
        Value mask = b.Unsqueeze(b.Cast(graph.Inputs.First(i => i.Name == "attention_mask"), DataType.Float), -1);
        Value pooled = b.Div(b.ReduceSum(b.Mul(hidden, mask), false, 1), b.ReduceSum(mask, false, 1));
        int width = (int)hidden.Shape![-1].Value!.Value;
        Value weight = b.Constant(DenseTensor.Of([width, Classes.Length], new float[width * Classes.Length]));
        weight.Name = "score.weight";
        Value logits = b.MatMul(pooled, weight);
        logits.Name = "logits";
        logits.Type = new OnnxType.Tensor(DataType.Float, new Shape([hidden.Shape[0], Dimension.Of(Classes.Length)]));
        graph.AddOutput(logits);
    }
}
