using OrtQLoRA.Trainer;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Runs;

namespace OrtQLoRA.Cli.Tests.Docs;

/// <summary>The example of README.md, so that it is compiled and run.</summary>
internal static class ReadmeExample
{
    public static TrainingResult Run()
    {
        // <readme>
        TrainingResult result = QLoraTrainer.Run(new TrainingOptions
        {
            Model = "model.onnx", Tokenizer = "tokenizer.bin", Data = "train.jsonl", Out = "run",
            Quantization = QuantizationKind.Eetq, Rank = 16, Epochs = 3, LearningRate = 1e-3,
        });
        RunExporter.ExportMerged(RunFolder.Open(result.RunFolder), "merged.onnx");
        // </readme>
        return result;
    }
}
