using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.TestKit;
using OrtQLoRA.TestKit.Exports;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Tests.Training;

/// <summary>Every model that real exporters wrote trains: the loss of the untouched graph is PyTorch's, and 20 steps of LoRA lower it.</summary>
[TestClass]
public sealed class ExportedModelTrainingTests
{
    private const int Steps = 20;

    public static IEnumerable<object[]> Names => ExportGradientCase.AllNames.Where(IsTrained).Select(n => new object[] { n });

    [TestMethod]
    [DynamicData(nameof(Names))]
    public void TrainStep_LoraOnAnExportedModel_LowersTheLoss(string name)
    {
        using ExportGradientCase exported = ExportGradientCase.Open(name);
        using OnnxModel model = exported.ReadModel();
        Dictionary<string, DenseTensor> batch = exported.Inputs(0).ToDictionary(i => i.Key, i => Dense(i.Value));
        ITensor label = exported.Label(0)!;
        string loss = exported.LossKind switch { "causal_lm" => "causal-lm", "cross_entropy" => "cross-entropy", var kind => kind };
        batch[loss == "mse" ? ArtifactNames.Target : ArtifactNames.Labels] = Dense(label);

        // All-linear leaves the head out, the only linear layer of a convolutional network.
        ModuleSelector targets = name.Contains("cnn", StringComparison.Ordinal) ? ModuleSelector.OfNames("fc") : ModuleSelector.AllLinear;
        (double first, double last) = Train(model, LossHeads.Get(loss), exported.LossOutput, batch, targets);

        double expected = exported.LossValue(0)!.Value;
        Assert.AreEqual(expected, first, (exported.IsHalf ? 5e-4 : 1e-4) * expected);
        Assert.IsLessThan(0.9 * first, last);
    }

    [TestMethod]
    [DataRow("genai_tiny_gpt2_fp32_past.onnx")]
    [DataRow("genai_tiny_qwen35_fp16_gqa.onnx")]
    public void TrainStep_DecoderWithCache_LowersTheLoss(string name)
    {
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require("models/" + name));
        long[] ids = [3, 7, 11, 2, 9, 4, 5, 8, 1, 6];
        Dictionary<string, DenseTensor> batch = new()
        {
            ["input_ids"] = DenseTensor.Of([2, 5], ids),
            ["position_ids"] = DenseTensor.Of([2, 5], [0L, 1, 2, 3, 4, 0, 1, 2, 3, 4]),
            ["attention_mask"] = DenseTensor.Of([2, 5], [.. Enumerable.Repeat(1L, 10)]),
            [ArtifactNames.Labels] = DenseTensor.Of([2, 5], ids),
        };
        foreach (Value input in model.Graph.Inputs.Where(i => i.ElementType == DataType.Int32 && batch.ContainsKey(i.Name)))
        {
            batch[input.Name] = DenseTensor.Of([2, 5], Array.ConvertAll(batch[input.Name].ToInt64s(), v => (int)v));
        }

        (double first, double last) = Train(model, LossHeads.Get("causal-lm"), ModelFacts.Read(model).LossOutput, batch, ModuleSelector.AllLinear);

        Assert.IsLessThan(first - 0.01, last);
    }

    private static (double First, double Last) Train(OnnxModel model, ILossHead loss, string output, Dictionary<string, DenseTensor> batch, ModuleSelector targets)
    {
        using TrainingGraph graph = TrainingGraphBuilder.Build(model, new TrainingGraphOptions
        {
            Method = new LoraMethod(),
            Adapter = new LoraConfig { Rank = 4, Alpha = 8, TargetModules = targets },
            Loss = loss,
            LossOutput = output,
            Optimizer = new AdamWOptimizer(),
            MaxGradNorm = 1,
        });
        using SessionTrainingEngine engine = new(graph.Artifacts, new EngineOptions { IntraOpThreads = 1 }) { LearningRate = 0.02 };
        Dictionary<string, DenseTensor> inputs = graph.Artifacts.UserInputs.ToDictionary(n => n, n => batch[n]);
        double first = engine.EvalStep(inputs).Loss;
        for (int step = 0; step < Steps; step++)
        {
            engine.TrainStep(inputs);
            Assert.IsGreaterThan(0, engine.OptimizerStep());
            engine.LazyResetGrad();
        }

        return (first, engine.EvalStep(inputs).Loss);
    }

    private static DenseTensor Dense(ITensor tensor) => new(tensor.ElementType, tensor.Dims, tensor.ToBytes());

    private static bool IsTrained(string name)
    {
        if (!Fixtures.IsAvailable)
        {
            return true;
        }

        using ExportGradientCase exported = ExportGradientCase.Open(name);
        return exported.Gradients.Count > 0;
    }
}
