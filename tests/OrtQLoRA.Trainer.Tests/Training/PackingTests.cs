using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.TestKit;
using OrtQLoRA.TestKit.Exports;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Tests.Training;

/// <summary>Several examples in one row give the loss and the gradient that they give in rows of their own.</summary>
[TestClass]
public sealed class PackingTests
{
    private static readonly int[] Lengths = [5, 9, 3, 7, 4];

    public static IEnumerable<object[]> Names => ExportGradientCase.AllNames.Where(IsDecoder).Concat(
        ["models/stories260k.onnx", "models/aidreams260k.onnx", "models/genai_tiny_gpt2_fp32_past.onnx"]).Select(n => new object[] { n });

    [TestMethod]
    [DynamicData(nameof(Names))]
    public void TrainStep_PackedRow_EqualsRowsOfTheirOwn(string name)
    {
        using ExportGradientCase? exported = name.StartsWith("models/", StringComparison.Ordinal) ? null : ExportGradientCase.Open(name);
        using OnnxModel model = exported?.ReadModel() ?? OnnxModelReader.Read(Fixtures.Require(name));
        ModelFacts facts = ModelFacts.Read(model);
        using TrainingGraph graph = Build(model, facts);
        using SessionTrainingEngine engine = new(graph.Artifacts, new EngineOptions { IntraOpThreads = 1 });
        DataCollator collator = new([.. graph.Artifacts.UserInputs.Select(n => graph.Artifacts.TrainingModel.Graph.GetValue(n)).Select(v => new ModelInput(v.Name, v.ElementType, v.Shape))], TrainingTask.CausalLm);
        TrainingExample[] examples = [.. Lengths.Select((length, i) => Example(i, length, (int)Math.Min(facts.VocabularySize ?? 32, 200)))];

        long counted = examples.Sum(collator.CountTargets);
        Batch packed = collator.Collate([TrainingExample.Pack(examples[..3]), TrainingExample.Pack(examples[3..])]);
        (double loss, double norm) = Step(engine, [packed], counted);
        (double expected, double expectedNorm) = Step(engine, [.. examples.Select(e => collator.Collate([e]))], counted);
        Dictionary<string, DenseTensor> mixed = new(packed.Inputs) { [ArtifactNames.SegmentIds] = Ones(packed.Inputs[ArtifactNames.SegmentIds]) };

        bool isHalf = exported?.IsHalf == true;
        Assert.AreEqual(expected, loss, isHalf ? 2e-4 : 1e-5 * Math.Max(1, expected));
        Assert.AreEqual(expectedNorm, norm, (isHalf ? 5e-3 : 1e-4) * expectedNorm);
        Assert.AreNotEqual(expected, engine.TrainStep(mixed), isHalf ? 4e-4 : 4e-5, "Examples that see each other would pass this test.");
    }

    [TestMethod]
    public void Run_PackedRows_FirstLossIsThatOfTheSameExamplesApart()
    {
        using TrainingFolder folder = new();
        TrainingOptions apart = folder.Options("apart", 1);
        apart.Batch = 6;
        TrainingOptions packed = folder.Options("packed", 3);
        packed.Packing = true;
        packed.MaxLength = 20;
        packed.EvalData = folder.File("eval.jsonl");

        TrainingResult result = QLoraTrainer.Run(packed);

        Assert.AreEqual(QLoraTrainer.Run(apart).Steps[0].Loss, result.Steps[0].Loss, 1e-5);
        Assert.AreEqual(36, result.Steps[0].Tokens);
        Assert.AreEqual(6, result.Evaluation!.Examples);
    }

    private static (double Loss, double Norm) Step(SessionTrainingEngine engine, Batch[] batches, long counted)
    {
        engine.LazyResetGrad();
        engine.LearningRate = 0;
        double loss = 0;
        foreach (Batch batch in batches)
        {
            double weight = (double)batch.CountedTargets / counted;
            loss += weight * engine.TrainStep(batch.Inputs, weight);
        }

        return (loss, engine.OptimizerStep());
    }

    private static DenseTensor Ones(DenseTensor like) => DenseTensor.Of(like.Dims, [.. Enumerable.Repeat(1L, (int)like.ElementCount())]);

    private static TrainingGraph Build(OnnxModel model, ModelFacts facts) => TrainingGraphBuilder.Build(model, new TrainingGraphOptions
    {
        Method = new LoraMethod(),
        Adapter = new LoraConfig { Rank = 4, Alpha = 8, TargetModules = ModuleSelector.AllLinear },
        Loss = LossHeads.Get("causal-lm"),
        LossOutput = facts.LossOutput,
        Optimizer = new AdamWOptimizer(),
        Packing = true,
    });

    private static TrainingExample Example(int number, int length, int vocabulary) => new()
    {
        Source = new SourceLine("packing", number + 1),
        InputIds = [.. Enumerable.Range(0, length).Select(t => (long)(1 + (((number * 31) + (t * t * 7) + t) % (vocabulary - 1))))],
    };

    private static bool IsDecoder(string name)
    {
        if (!Fixtures.IsAvailable)
        {
            return true;
        }

        using ExportGradientCase exported = ExportGradientCase.Open(name);
        return exported.LossKind == "causal_lm" && exported.Gradients.Count > 0 && !name.Contains("t5", StringComparison.Ordinal) && !name.Contains("whisper", StringComparison.Ordinal);
    }
}
