using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Training;

/// <summary>Training graphs whose products compute in half precision, evaluated with every result rounded to its type.</summary>
[TestClass]
public sealed class HalfPrecisionTests
{
    private const int Tokens = 32;

    private static readonly string[] Products = ["MatMul", "Gemm"];

    private static readonly LlamaModelOptions Size = new()
    {
        HiddenSize = 16,
        IntermediateSize = 24,
        LayerCount = 2,
        HeadCount = 2,
        VocabularySize = Tokens,
        InitializerRange = 0.2,
    };

    [TestMethod]
    [DataRow(DataType.BFloat16, false, 3e-2)]
    [DataRow(DataType.BFloat16, true, 3e-2)]
    [DataRow(DataType.Float16, false, 4e-3)]
    [DataRow(DataType.Float16, true, 4e-3)]
    public void Build_HalfPrecision_GivesLossAndGradientsWithinItsRounding(DataType half, bool isQuantized, double tolerance)
    {
        using OnnxModel model = LlamaModelBuilder.Build(Size);
        using TrainingGraph full = Build(model, null, isQuantized);
        using TrainingGraph mixed = Build(model, half, isQuantized);

        IReadOnlyDictionary<string, double[]> expected = Run(full);
        IReadOnlyDictionary<string, double[]> actual = Run(mixed);

        Assert.AreEqual(expected[ArtifactNames.Loss][0], actual[ArtifactNames.Loss][0], tolerance * expected[ArtifactNames.Loss][0]);
        TensorAssert.AreClose(Gradients(full, expected), Gradients(mixed, actual), tolerance, "gradient of all parameters");
    }

    [TestMethod]
    [DataRow(DataType.BFloat16)]
    [DataRow(DataType.Float16)]
    public void Build_HalfPrecision_ConvertsProductsAndKeepsParametersAndLoss(DataType half)
    {
        using OnnxModel model = LlamaModelBuilder.Build(Size);
        using TrainingGraph mixed = Build(model, half, isQuantized: false);
        OnnxGraph training = mixed.Artifacts.TrainingModel.Graph;

        Assert.IsTrue(training.Nodes.Where(n => Products.Contains(n.OpType)).All(n => n.Inputs.OfType<Value>().All(i => i.ElementType == half)));
        Assert.IsTrue(mixed.Artifacts.Parameters.All(p => training.GetValue(p.Name).ElementType == DataType.Float));
        Assert.IsTrue(training.Outputs.All(o => o.ElementType == DataType.Float), "Loss and accumulated gradients are fp32.");
        Assert.AreEqual(DataType.Float, mixed.Artifacts.EvalModel.Graph.Outputs.Single(o => o.Name == "logits").ElementType);
        Assert.IsFalse(training.Nodes.Any(n => n.Is("Cast") && n.Inputs[0]!.IsConstant), "Frozen weights are converted once, not at each step.");
    }

    private static double[] Gradients(TrainingGraph graph, IReadOnlyDictionary<string, double[]> values) =>
        [.. graph.Artifacts.Parameters.SelectMany(p => values[ArtifactNames.AccumulationOutput(p.Name)])];

    private static IReadOnlyDictionary<string, double[]> Run(TrainingGraph graph)
    {
        const int Rows = 2;
        const int Length = 6;
        double[] ids = [.. Enumerable.Range(0, Rows * Length).Select(i => (double)(i * 13 % Tokens))];
        Dictionary<string, ReferenceTensor> feeds = [];
        foreach (Value input in graph.Artifacts.TrainingModel.Graph.RequiredInputs)
        {
            feeds[input.Name] = input.ElementType == DataType.Float ? Floats(input)
                : ReferenceTensor.OfIntegers(
                    DataType.Int64,
                    [Rows, Length],
                    [.. ids.Select((id, i) => input.Name.Contains("mask", StringComparison.Ordinal) ? 1L : input.Name.Contains("position", StringComparison.Ordinal) ? i % Length : (long)id)]);
        }

        return new ReferenceEvaluator(graph.Artifacts.TrainingModel, EvaluationMode.Typed).Run(feeds).ToDictionary(r => r.Key, r => r.Value.ToTensor().ToFloats().Select(v => (double)v).ToArray());
    }

    private static ReferenceTensor Floats(Value input)
    {
        long[] dims = [.. input.Shape!.Select(d => d.Value!.Value)];
        bool isBuffer = input.Name.EndsWith(ArtifactNames.AccumulationBuffer(""), StringComparison.Ordinal);
        int count = (int)dims.Aggregate(1L, (product, d) => product * d);
        return ReferenceTensor.OfFloats(
            DataType.Float,
            dims,
            [.. Enumerable.Range(0, count).Select(i => input.Name == ArtifactNames.LossWeight ? 1 : isBuffer ? 0 : (double)(float)(0.1 * Math.Sin((i * 0.7) + count)))]);
    }

    private static TrainingGraph Build(OnnxModel model, DataType? half, bool isQuantized) => TrainingGraphBuilder.Build(model, new TrainingGraphOptions
    {
        Method = new LoraMethod(),
        Adapter = new LoraConfig { Rank = 4, TargetModules = ModuleSelector.AllLinear },
        Loss = CrossEntropyLoss.CausalLanguageModeling,
        LossOutput = "logits",
        WeightFormat = isQuantized ? WeightFormatRegistry.Default.Get("eetq") : null,
        HalfPrecision = half,
        Optimizer = new AdamWOptimizer(),
        Seed = 3,
    });
}
