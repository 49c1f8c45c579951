using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Tests;

/// <summary>A small decoder and lines to train it on.</summary>
internal sealed class TrainingFolder : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public TrainingFolder()
    {
        using OnnxModel model = LlamaModelBuilder.Build(new LlamaModelOptions
        {
            HiddenSize = 16,
            IntermediateSize = 24,
            LayerCount = 1,
            HeadCount = 2,
            VocabularySize = 32,
            ContextLength = 32,
            InitializerRange = 0.2,
        });
        OnnxModelWriter.Write(model, _folder.File("model.onnx"));
        _folder.Write("train.jsonl", Lines(0));
        _folder.Write("eval.jsonl", Lines(2));
    }

    /// <summary>Path of a file or folder in it.</summary>
    public string File(string name) => _folder.File(name);

    /// <summary>Options to train with.</summary>
    public TrainingOptions Options(string run, int steps) => new()
    {
        Model = File("model.onnx"),
        Data = File("train.jsonl"),
        Out = File(run),
        Rank = 2,
        Batch = 2,
        LearningRate = 0.01,
        MaxSteps = steps,
        Report = false,
        TensorBoard = false,
    };

    public void Dispose() => _folder.Dispose();

    private static string Lines(int start) => string.Concat(Enumerable.Range(start, 6).Select(i =>
        $"{{\"input_ids\": [{string.Join(", ", Enumerable.Range(0, 6).Select(t => ((i * 5) + t) % 32))}]}}\n"));
}
