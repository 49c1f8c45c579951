using OrtQLoRA.Trainer;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;

// What a project that installed the packages can do: train, and see the loss fall.
string demo = args[0];
TrainingResult result = QLoraTrainer.Run(new TrainingOptions
{
    Model = Path.Combine(demo, "model.onnx"),
    Tokenizer = Path.Combine(demo, "tokenizer.bin"),
    Data = Path.Combine(demo, "logbook.jsonl"),
    Out = args[1],
    Quantization = QuantizationKind.Eetq,
    LearningRate = 5e-3,
    MaxSteps = 20,
});
Console.WriteLine($"Loss {result.Steps[0].Loss:F3} before, {result.Steps[^1].Loss:F3} after {result.Steps.Count} steps.");
return result.Steps[^1].Loss < result.Steps[0].Loss ? 0 : 1;
