using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests;

/// <summary>A small decoder with data, and the way to train it by command.</summary>
internal sealed class TrainingFixture : IDisposable
{
    private static readonly string[] Common = ["--rank", "4", "--lr", "0.01", "--batch", "2", "--seed", "7"];

    public TemporaryFolder Folder { get; } = new();

    public string Model
    {
        get
        {
            string path = Folder.File("model.onnx");
            if (!File.Exists(path))
            {
                using OnnxModel model = LlamaModelBuilder.Build(new LlamaModelOptions
                {
                    HiddenSize = 32,
                    IntermediateSize = 48,
                    LayerCount = 2,
                    HeadCount = 4,
                    VocabularySize = 64,
                    ContextLength = 64,
                    InitializerRange = 0.2,
                });
                OnnxModelWriter.Write(model, path);
            }

            return path;
        }
    }

    /// <summary>Lines that count upwards from different starts, of unequal length.</summary>
    public string Data(string name, int lines, int start = 0) => Folder.Write(
        name,
        string.Concat(Enumerable.Range(start, lines).Select(i =>
            $"{{\"input_ids\": [{string.Join(", ", Enumerable.Range(0, 6 + (i % 3)).Select(t => ((i * 5) + t) % 64))}]}}\n")));

    /// <summary>The common flags, as far as <paramref name="flags"/> do not set them otherwise.</summary>
    public string[] Arguments(string run, params string[] flags) =>
    [
        "train", "--model", Model, "--data", Data("train.jsonl", 8), "--out", Folder.File(run),
        .. Common.Chunk(2).Where(pair => !flags.Contains(pair[0])).SelectMany(pair => pair), .. flags,
    ];

    /// <summary>Trains.</summary>
    /// <returns>The run folder.</returns>
    public string Train(string run, params string[] flags)
    {
        CommandLine.Succeed(Arguments(run, flags));
        return Folder.File(run);
    }

    public static JsonElement[] Metrics(string run) =>
        [.. File.ReadLines(Path.Combine(run, "metrics.jsonl")).Select(l => JsonDocument.Parse(l).RootElement)];

    /// <summary>Metrics without the clock's, line by line.</summary>
    public static string[] TimelessMetrics(string run) =>
        [.. Metrics(run).Select(m => string.Join(' ', m.EnumerateObject().Where(p => p.Name != "seconds").Select(p => $"{p.Name}={p.Value}")))];

    public static byte[] Adapter(string run) => File.ReadAllBytes(Path.Combine(run, "adapter", "adapter_model.safetensors"));

    public static void AssertSameRun(string expected, string actual)
    {
        CollectionAssert.AreEqual(TimelessMetrics(expected), TimelessMetrics(actual));
        CollectionAssert.AreEqual(Adapter(expected), Adapter(actual));
    }

    public void Dispose() => Folder.Dispose();
}
