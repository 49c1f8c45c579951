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
        TrainingOptions options = new() { Model = "model.onnx", Tokenizer = "tokenizer.bin", Data = "train.jsonl", Out = "run" };
        options.Quantization = QuantizationKind.Eetq;
        options.Rank = 16;
        TrainingResult result = QLoraTrainer.Run(options);
        RunExporter.ExportMerged(RunFolder.Open(result.RunFolder), "merged.onnx");
        // </readme>
        return result;
    }
}
