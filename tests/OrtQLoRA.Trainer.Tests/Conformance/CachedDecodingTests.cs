using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Runs;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Tests.Conformance;

/// <summary>A merged model decodes token by token with its own key/value cache what the trained graph, which has none, finds likeliest.</summary>
[TestClass]
public sealed class CachedDecodingTests
{
    private const int NewTokens = 32;

    private static readonly long[] Prompt = [3, 11, 7, 20, 5];

    /// <summary>Model, and how far logits may lie apart by rounding, as a share of the largest.</summary>
    public static IEnumerable<object[]> Models =>
    [
        ["models/genai_tiny_gpt2_fp32_past.onnx", 1e-4],
        ["models/genai_tiny_qwen35_fp16_gqa.onnx", 1e-2],
        ["exports/genai_llama_fp32_cpu", 1e-4],
        ["exports/genai_gemma_fp32_cpu", 1e-4],
        ["exports/genai_phi3_fp32_cpu", 1e-4],
        ["exports/genai_qwen2_int4_fp32accuracy", 1e-4],
        ["exports/optimum_llama_with_past", 1e-4],
        ["exports/optimum_gpt2_with_past", 1e-4],
    ];

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void Decode_MergedModelWithCache_GivesTheTrainedGraphsTokens(string fixture, double tolerance)
    {
        using TemporaryFolder folder = new();
        TrainingOptions options = new()
        {
            Model = ModelFolder.Resolve(Fixtures.Require(fixture)),
            Data = folder.Write("data.jsonl", string.Concat(Enumerable.Range(0, 4).Select(row => $"{{\"input_ids\": [{string.Join(", ", Enumerable.Range(0, 10).Select(i => 3 + (((row * 31) + (i * i * 7)) % 41)))}]}}\n"))),
            Out = folder.File("run"),
            Task = TrainingTask.CausalLm,
            Rank = 4,
            LearningRate = 0.01,
            MaxSteps = 4,
            Report = false,
            TensorBoard = false,
        };
        RunFolder run = RunFolder.Open(QLoraTrainer.Run(options).RunFolder);
        RunExporter.ExportMerged(run, folder.File("merged.onnx"));

        using TrainedGraph trained = new(run);
        using CachedDecoder decoder = new(folder.File("merged.onnx"), Prompt);
        List<long> tokens = [.. Prompt];
        for (int i = 0; i < NewTokens; i++)
        {
            long token = decoder.Next();
            float[] logits = trained.LastLogits(tokens);
            float best = logits.Max();
            Assert.IsGreaterThanOrEqualTo(best - (tolerance * logits.Max(Math.Abs)), logits[token], $"token {i}: {token} instead of {Array.IndexOf(logits, best)}");
            tokens.Add(token);
        }

        Assert.AreEqual(tokens.Count - 1, decoder.CacheLength, "The cache holds every token but the last.");
    }

    /// <summary>The graph that a run trained, with its adapter.</summary>
    private sealed class TrainedGraph : IDisposable
    {
        private readonly OnnxModel _model;
        private readonly ModelFacts _facts;
        private readonly TrainingSetup _setup;

        public TrainedGraph(RunFolder run)
        {
            TrainingOptions options = run.ReadOptions();
            options.InitAdapter = run.AdapterFolder;
            _model = OnnxModelReader.Read(options.Model);
            _facts = ModelFacts.Read(_model, options.LossOutput);
            _setup = TrainingSetup.Create(_model, _facts, AdapterSettings.Create(options), options, NullCallback.Instance);
        }

        public float[] LastLogits(IReadOnlyList<long> tokens)
        {
            Dictionary<string, DenseTensor> inputs = _setup.BatchInputs.ToDictionary(i => i.Name, i => Fill(i, tokens));
            DenseTensor logits = _setup.Engine.EvalStep(inputs, _facts.LossOutput).Outputs[_facts.LossOutput];
            return logits.ToFloats()[^(int)logits.Dims[^1]..];
        }

        public void Dispose()
        {
            _setup.Dispose();
            _model.Dispose();
        }

        private static DenseTensor Fill(ModelInput input, IReadOnlyList<long> tokens)
        {
            long[] values = input.Name switch
            {
                "attention_mask" => [.. tokens.Select(_ => 1L)],
                "position_ids" => [.. Enumerable.Range(0, tokens.Count).Select(i => (long)i)],
                "input_ids" or "labels" => [.. tokens],
                _ => throw new ArgumentException($"Nothing fills the input '{input.Name}'."),
            };
            return input.ElementType == DataType.Int32
                ? DenseTensor.Of([1, values.Length], Array.ConvertAll(values, v => (int)v))
                : DenseTensor.Of([1, values.Length], values);
        }
    }
}
