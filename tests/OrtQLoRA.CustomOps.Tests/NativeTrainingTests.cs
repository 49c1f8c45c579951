using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.CustomOps.Tests;

/// <summary>A quantized decoder trained with native operators beside one with standard operators.</summary>
[TestClass]
public sealed class NativeTrainingTests
{
    private const int Tokens = 64;

    private static readonly LlamaModelOptions Size = new()
    {
        HiddenSize = 64,
        IntermediateSize = 96,
        LayerCount = 2,
        HeadCount = 4,
        VocabularySize = Tokens,
        InitializerRange = 0.2,
    };

    /// <summary>
    /// The gradient's bound follows from the error of one product in that arithmetic (docs/native-ops.md: 1.3e-4, 1.7e-3 and
    /// 8.4e-3), which grows six to nine times on the way through this model's layers and back.
    /// </summary>
    [TestMethod]
    [DataRow(Int8Compute.Fp32, 1e-4, 1e-4)]
    [DataRow(Int8Compute.Int16, 1e-3, 2e-3)]
    [DataRow(Int8Compute.Bf16, 2e-2, 2e-2)]
    [DataRow(Int8Compute.Int8, 2e-2, 1e-1)]
    public void TrainStep_QuantizedDecoder_GivesThePortableLossAndGradients(Int8Compute compute, double lossTolerance, double gradientTolerance)
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();
        using OnnxModel model = LlamaModelBuilder.Build(Size);
        using TrainingGraph portable = Build(model, null);
        using TrainingGraph native = Build(model, compute);
        using SessionTrainingEngine expected = new(portable.Artifacts);
        using SessionTrainingEngine actual = new(native.Artifacts, new EngineOptions { CustomOps = library });
        Dictionary<string, DenseTensor> batch = Batch(portable.Artifacts);
        SetSameStart(expected, actual);

        double loss = expected.TrainStep(batch);

        Assert.AreEqual(loss, actual.TrainStep(batch), lossTolerance * loss);
        Assert.AreEqual(expected.EvalStep(batch).Loss, actual.EvalStep(batch).Loss, lossTolerance * loss);
        TensorAssert.AreClose(Gradient(expected), Gradient(actual), gradientTolerance, "gradient of all parameters");
    }

    [TestMethod]
    public void Build_NativeOperators_LeavesNoDequantizationAndSharesWeights()
    {
        using OnnxModel model = LlamaModelBuilder.Build(Size);
        using TrainingGraph native = Build(model, Int8Compute.Auto);
        OnnxGraph training = native.Artifacts.TrainingModel.Graph;
        OnnxGraph eval = native.Artifacts.EvalModel.Graph;

        Assert.IsFalse(training.Nodes.Concat(eval.Nodes).Any(n => n.Is("DequantizeLinear")));
        ITensor[] forward = Weights(training, OpCatalog.LoraLinear, 1);
        Assert.HasCount(7 * Size.LayerCount, forward);
        CollectionAssert.IsSubsetOf(Weights(training, OpCatalog.LoraLinearGrad, 3), forward);
        CollectionAssert.AreEquivalent(forward, Weights(eval, OpCatalog.LoraLinear, 1));
    }

    [TestMethod]
    public void TrainStep_RecomputedActivations_GivesTheSameBitsInLessMemory()
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();
        using OnnxModel model = LlamaModelBuilder.Build(Size);
        using TrainingGraph kept = Build(model, Int8Compute.Fp32);
        using TrainingGraph again = Build(model, Int8Compute.Fp32, recomputes: true);
        using SessionTrainingEngine expected = new(kept.Artifacts, new EngineOptions { CustomOps = library });
        using SessionTrainingEngine actual = new(again.Artifacts, new EngineOptions { CustomOps = library });
        Dictionary<string, DenseTensor> batch = Batch(kept.Artifacts);
        SetSameStart(expected, actual);

        Assert.AreEqual(expected.TrainStep(batch), actual.TrainStep(batch));
        CollectionAssert.AreEqual(Gradient(expected), Gradient(actual));

        // A layer's two norms and its activation, each of them made twice but the first norm, whose operand nothing keeps; the last one has no reader backward.
        Assert.AreEqual((6 * Size.LayerCount) - 1, Count(again, OpCatalog.RmsNorm, OpCatalog.SwiGlu) - 1);
        Assert.AreEqual(3 * Size.LayerCount, Count(kept, OpCatalog.RmsNorm, OpCatalog.SwiGlu) - 1);
        Assert.IsLessThan(0.9 * Peak(kept), Peak(again));

        int Count(TrainingGraph graph, params string[] ops) => graph.Artifacts.TrainingModel.Graph.Nodes.Count(n => n.Domain == OpCatalog.Domain && ops.Contains(n.OpType));
        double Peak(TrainingGraph graph) => ActivationMemory.Peak(
            graph.Artifacts.TrainingModel, graph.Artifacts.UserInputs.ToDictionary(i => i, _ => Shape.Of(16, 64))).Bytes;
    }

    [TestMethod]
    [DataRow(Int8Compute.Fp32)]
    [DataRow(Int8Compute.Int8)]
    public void TrainStep_WeightsInPanels_GivesTheSameBits(Int8Compute compute)
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();
        using OnnxModel model = LlamaModelBuilder.Build(Size);
        using TrainingGraph plain = Build(model, compute);
        using TrainingGraph panels = Build(model, compute, packer: new Int8WeightPacker(
            CustomOpLibrary.PanelLayout, (q, k, n) => library.PackWeight(q.Span, "plain", k, n, CustomOpLibrary.PanelLayout)));
        using SessionTrainingEngine expected = new(plain.Artifacts, new EngineOptions { CustomOps = library });
        using SessionTrainingEngine actual = new(panels.Artifacts, new EngineOptions { CustomOps = library });
        Dictionary<string, DenseTensor> batch = Batch(plain.Artifacts);

        Assert.AreEqual(expected.TrainStep(batch), actual.TrainStep(batch));
        Assert.AreEqual(expected.EvalStep(batch).Loss, actual.EvalStep(batch).Loss);
        CollectionAssert.AreEqual(Gradient(expected), Gradient(actual));
        ITensor[] weights = [.. panels.Artifacts.TrainingModel.Graph.Initializers.Select(i => i.Initializer!).Where(t => t.ElementType is DataType.UInt8 or DataType.Int8)];
        Assert.HasCount(7 * Size.LayerCount, weights, "No weight is there in two layouts.");
        Assert.IsTrue(weights.All(w => w.ElementType == DataType.UInt8));
    }

    /// <summary>Two passes, so that gradients are accumulated.</summary>
    [TestMethod]
    public void TrainStep_FusedSums_AccumulatesTheSameGradients()
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();
        using OnnxModel model = LlamaModelBuilder.Build(Size);
        using TrainingGraph apart = Build(model, Int8Compute.Fp32);
        using TrainingGraph fused = Build(model, Int8Compute.Fp32, fusesSums: true);
        using SessionTrainingEngine expected = new(apart.Artifacts, new EngineOptions { CustomOps = library });
        using SessionTrainingEngine actual = new(fused.Artifacts, new EngineOptions { CustomOps = library });
        Dictionary<string, DenseTensor> batch = Batch(apart.Artifacts);
        SetSameStart(expected, actual);

        for (int pass = 0; pass < 2; pass++)
        {
            double loss = expected.TrainStep(batch);
            Assert.AreEqual(loss, actual.TrainStep(batch), 1e-6 * loss);
        }

        TensorAssert.AreClose(Gradient(expected), Gradient(actual), 1e-5, "gradient of all parameters");
        Assert.AreEqual(expected.EvalStep(batch).Loss, actual.EvalStep(batch).Loss, 1e-6);

        // Of a layer the 14 accumulators, two residual sums, and backward five; nothing flows into the first one.
        Assert.AreEqual(Additions(apart) - (21 * Size.LayerCount) + 3, Additions(fused));

        int Additions(TrainingGraph graph) => graph.Artifacts.TrainingModel.Graph.Nodes.Count(n => n.Is("Add"));
    }

    private static float[] Gradient(SessionTrainingEngine engine) => [.. engine.Parameters.SelectMany(p => engine.GetGradient(p.Name).ToFloats())];

    private static ITensor[] Weights(OnnxGraph graph, string op, int input) =>
        [.. graph.Nodes.Where(n => n.Is(op, OpCatalog.Domain)).Select(n => n.Inputs[input]!.Initializer!)];

    private static TrainingGraph Build(OnnxModel model, Int8Compute? compute, bool recomputes = false, Int8WeightPacker? packer = null, bool fusesSums = false) => TrainingGraphBuilder.Build(model, new TrainingGraphOptions
    {
        Method = new LoraMethod(),
        Adapter = new LoraConfig { Rank = 4, TargetModules = ModuleSelector.AllLinear },
        Loss = CrossEntropyLoss.CausalLanguageModeling,
        LossOutput = "logits",
        WeightFormat = WeightFormatRegistry.Default.Get("eetq"),
        NativeOperators = compute,
        RecomputesActivations = recomputes,
        WeightPacker = packer,
        FusesSums = fusesSums,
        Optimizer = new AdamWOptimizer(),
        Seed = 3,
    });

    private static Dictionary<string, DenseTensor> Batch(TrainingArtifacts artifacts)
    {
        const int Rows = 2;
        const int Length = 12;
        long[] ids = [.. Enumerable.Range(0, Rows * Length).Select(i => (long)(i * 29 % Tokens))];
        return artifacts.UserInputs.ToDictionary(
            name => name,
            name => DenseTensor.Of([Rows, Length], name.Contains("mask", StringComparison.Ordinal) ? [.. ids.Select(_ => 1L)]
                : name.Contains("position", StringComparison.Ordinal) ? [.. ids.Select((_, i) => (long)(i % Length))]
                : ids));
    }

    // LoRA's B starts at zero, where A has no gradient.
    private static void SetSameStart(SessionTrainingEngine expected, SessionTrainingEngine actual)
    {
        foreach (TrainableParameter parameter in expected.Parameters)
        {
            DenseTensor start = Pattern(parameter.InitialValue.Dims);
            expected.SetParameter(parameter.Name, start);
            actual.SetParameter(parameter.Name, start);
        }
    }

    private static DenseTensor Pattern(IReadOnlyList<long> dims)
    {
        long count = dims.Aggregate(1L, (product, d) => product * d);
        return DenseTensor.Of(dims, [.. Enumerable.Range(0, (int)count).Select(i => 0.1f * MathF.Sin((i * 0.7f) + count))]);
    }
}
