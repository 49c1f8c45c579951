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
        foreach (TrainableParameter parameter in expected.Parameters)
        {
            // LoRA's B starts at zero, where A has no gradient.
            DenseTensor start = Pattern(parameter.InitialValue.Dims);
            expected.SetParameter(parameter.Name, start);
            actual.SetParameter(parameter.Name, start);
        }

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

    private static float[] Gradient(SessionTrainingEngine engine) => [.. engine.Parameters.SelectMany(p => engine.GetGradient(p.Name).ToFloats())];

    private static ITensor[] Weights(OnnxGraph graph, string op, int input) =>
        [.. graph.Nodes.Where(n => n.Is(op, OpCatalog.Domain)).Select(n => n.Inputs[input]!.Initializer!)];

    private static TrainingGraph Build(OnnxModel model, Int8Compute? compute) => TrainingGraphBuilder.Build(model, new TrainingGraphOptions
    {
        Method = new LoraMethod(),
        Adapter = new LoraConfig { Rank = 4, TargetModules = ModuleSelector.AllLinear },
        Loss = CrossEntropyLoss.CausalLanguageModeling,
        LossOutput = "logits",
        WeightFormat = WeightFormatRegistry.Default.Get("eetq"),
        NativeOperators = compute,
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

    private static DenseTensor Pattern(IReadOnlyList<long> dims)
    {
        long count = dims.Aggregate(1L, (product, d) => product * d);
        return DenseTensor.Of(dims, [.. Enumerable.Range(0, (int)count).Select(i => 0.1f * MathF.Sin((i * 0.7f) + count))]);
    }
}
