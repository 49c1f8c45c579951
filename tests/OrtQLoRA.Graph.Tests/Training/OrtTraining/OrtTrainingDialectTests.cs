using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Graph.Training.OrtTraining;
using OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Training.OrtTraining;

[TestClass]
public sealed class OrtTrainingDialectTests
{
    [TestMethod]
    public void Build_TwoLayers_OrdersInputsAndOutputsAsTheSessionWants()
    {
        using OnnxModel model = Model();
        using TrainingGraph graph = Build(model, new OrtTrainingOptions());
        TrainingArtifacts artifacts = graph.Artifacts;
        CollectionAssert.AreEqual(
            new[]
            {
                "x", "target", "first.weight", "first.bias", "second.weight",
                "first.weight_grad.accumulation.buffer", "first.bias_grad.accumulation.buffer", "second.weight_grad.accumulation.buffer", "lazy_reset_grad",
            },
            Names(artifacts.TrainingModel.Graph.Inputs));
        CollectionAssert.AreEqual(
            new[] { "loss", "first.weight_grad.accumulation.out", "first.bias_grad.accumulation.out", "second.weight_grad.accumulation.out" },
            Names(artifacts.TrainingModel.Graph.Outputs));
        CollectionAssert.AreEqual(new[] { "x", "target", "first.weight", "first.bias", "second.weight" }, Names(artifacts.EvalModel.Graph.Inputs));
        CollectionAssert.AreEqual(new[] { "loss", "y" }, Names(artifacts.EvalModel.Graph.Outputs));
        Value flag = artifacts.TrainingModel.Graph.Outputs[1];
        Assert.AreEqual("InPlaceAccumulatorV2", flag.Producer!.OpType);
        Assert.AreEqual(new OnnxType.Tensor(DataType.Bool, Shape.Of(1)), flag.Type);
        foreach (OnnxModel part in new[] { artifacts.TrainingModel, artifacts.EvalModel, artifacts.OptimizerModel })
        {
            Assert.IsLessThanOrEqualTo(21, part.Opset);
            Assert.IsLessThanOrEqualTo(10, part.IrVersion);
            GraphVerifier.Verify(part);
        }
    }

    [TestMethod]
    public void Build_FrozenInCheckpoint_ListsAllParametersInFileOrderInBothModels()
    {
        using OnnxModel model = Model();
        using TrainingGraph graph = Build(model, new OrtTrainingOptions { FrozenInCheckpoint = true }, "first.bias");
        TrainingArtifacts artifacts = graph.Artifacts;
        CollectionAssert.AreEqual(
            new[] { "x", "target", "first.weight", "first.bias", "second.weight", "first.bias_grad.accumulation.buffer", "lazy_reset_grad" },
            Names(artifacts.TrainingModel.Graph.Inputs));
        CollectionAssert.AreEqual(new[] { "x", "target", "first.weight", "first.bias", "second.weight" }, Names(artifacts.EvalModel.Graph.Inputs));
        using TemporaryFolder folder = new();
        OrtArtifactFiles files = OrtArtifactWriter.Write(artifacts, folder.Path);
        using OrtCheckpoint checkpoint = OrtCheckpointReader.Read(files.Checkpoint);
        CollectionAssert.AreEqual(new[] { "first.bias" }, checkpoint.Trainable.Select(p => p.Name).ToArray());
        CollectionAssert.AreEqual(new[] { "first.weight", "second.weight" }, checkpoint.Frozen.Select(p => p.Name).ToArray());
    }

    [TestMethod]
    public void Build_AveragedMicroBatches_WeighsTheLossInsideTheGraph()
    {
        using OnnxModel model = Model();
        using TrainingGraph graph = Build(model, new OrtTrainingOptions { AveragedMicroBatches = 4 });
        Value weight = graph.Artifacts.TrainingModel.Graph.GetValue("loss_weight");
        Assert.IsFalse(weight.IsGraphInput);
        Assert.AreEqual(0.25f, weight.Initializer!.ToFloats()[0]);
    }

    [TestMethod]
    [DataRow("lazy_reset_grad")]
    [DataRow("pixels_grad")]
    [DataRow("w_grad.accumulation.out")]
    public void Build_InputWithANameOfTheSession_IsRefused(string name)
    {
        using OnnxModel model = Model(input: name);
        ConfigurationException error = Assert.ThrowsExactly<ConfigurationException>(() => Build(model, new OrtTrainingOptions()));
        StringAssert.Contains(error.Message, $"'{name}'");
    }

    [TestMethod]
    public void Build_LaterOpsetWithKnownOperators_IsBroughtDown()
    {
        using OnnxModel model = Model();
        model.Opset = 22;
        using TrainingGraph graph = Build(model, new OrtTrainingOptions());
        Assert.AreEqual(21, graph.Artifacts.TrainingModel.Opset);
    }

    [TestMethod]
    public void Build_OptimizerWithClipping_HasTheInputsInOrder()
    {
        using OnnxModel model = Model();
        using TrainingGraph graph = Build(model, new OrtTrainingOptions { LearningRateFactor = 2 }, optimizer: new AdamWOptimizer { Beta1 = 0.8, WeightDecay = 0.1 }, maxGradNorm: 0.5);
        OnnxGraph optimizer = graph.Artifacts.OptimizerModel.Graph;
        CollectionAssert.AreEqual(
            new[] { "learning_rate", "step", "params", "gradients", "first_order_moments", "second_order_moments" }, Names(optimizer.Inputs));
        CollectionAssert.AreEqual(new[] { "Mul", "InplaceClipGradNorm", "AdamWOptimizer" }, optimizer.Nodes.Select(n => n.OpType).ToArray());
        Node update = optimizer.Last!;
        Assert.AreEqual(0.8f, update.GetFloat("alpha", 0));
        Assert.AreEqual(0.1f, update.GetFloat("weight_decay", 0));
        Assert.AreEqual(0, update.GetInt("adam_mode", 1));
    }

    [TestMethod]
    public void Build_SgdWithMomentum_IsRefused()
    {
        using OnnxModel model = Model();
        ConfigurationException error = Assert.ThrowsExactly<ConfigurationException>(
            () => Build(model, new OrtTrainingOptions(), optimizer: new SgdOptimizer { Momentum = 0.9 }));
        StringAssert.Contains(error.Message, "0.9");
    }

    [TestMethod]
    [DataRow("a_mlp_crossentropy_adamw", "cross-entropy")]
    [DataRow("b_mlp_crossentropy_sgd", "cross-entropy")]
    [DataRow("c_mlp_mse_frozen", "mse")]
    [DataRow("c2_mlp_bcewithlogits", "bce-with-logits")]
    [DataRow("c3_mlp_l1", "l1")]
    [DataRow("d_llama_lora", "cross-entropy")]
    public void Build_BaseModelOfTheOfficialGenerator_HasItsInterface(string name, string loss)
    {
        string folder = Fixtures.Require($"ort-artifacts/{name}");
        OrtArtifactFiles official = new(folder);
        using OrtCheckpoint officialCheckpoint = OrtCheckpointReader.Read(official.Checkpoint);
        using OnnxModel model = OnnxModelReader.Read(Path.Combine(folder, "model.onnx"));
        IOptimizerDefinition optimizer = name.EndsWith("sgd", StringComparison.Ordinal) ? new SgdOptimizer() : new AdamWOptimizer { Eps = 1e-6, WeightDecay = 0 };
        using TrainingGraph graph = Build(
            model,
            new OrtTrainingOptions { FrozenInCheckpoint = true, AdamW = AdamWForm.HuggingFace },
            $"({string.Join('|', officialCheckpoint.Trainable.Select(p => System.Text.RegularExpressions.Regex.Escape(p.Name)))})",
            optimizer,
            loss: loss);
        using TemporaryFolder temporary = new();
        OrtArtifactFiles ours = OrtArtifactWriter.Write(graph.Artifacts, temporary.Path);

        using OrtCheckpoint checkpoint = OrtCheckpointReader.Read(ours.Checkpoint);
        AssertSame(officialCheckpoint.Trainable, checkpoint.Trainable);
        AssertSame(officialCheckpoint.Frozen, checkpoint.Frozen);
        AssertSameInputs(official.TrainingModel, ours.TrainingModel);
        AssertSameInputs(official.EvalModel, ours.EvalModel);
        AssertSameInputs(official.OptimizerModel, ours.OptimizerModel);
        using OnnxModel officialOptimizer = OnnxModelReader.Read(official.OptimizerModel);
        using OnnxModel ourOptimizer = OnnxModelReader.Read(ours.OptimizerModel);
        Assert.AreEqual(Describe(officialOptimizer.Graph.Last!), Describe(ourOptimizer.Graph.Last!));
        using OnnxModel officialTraining = OnnxModelReader.Read(official.TrainingModel);
        using OnnxModel ourTraining = OnnxModelReader.Read(ours.TrainingModel);
        CollectionAssert.AreEqual(Accumulators(officialTraining), Accumulators(ourTraining));
        CollectionAssert.AreEqual(Names(officialTraining.Graph.Outputs.Skip(1)), Names(ourTraining.Graph.Outputs.Skip(1)));
    }

    private static string Describe(Node node) =>
        $"{node.OpType} {string.Join(" ", node.Attributes.OrderBy(a => a.Key, StringComparer.Ordinal).Select(a => $"{a.Key}={(a.Value.Kind == AttributeKind.Int ? a.Value.AsInt() : a.Value.AsFloat())}"))}";

    private static string[] Accumulators(OnnxModel model) =>
        [.. model.Graph.Nodes.Where(n => n.OpType == "InPlaceAccumulatorV2").Select(n => $"{n.Domain} {n.Inputs[0]!.Name} {n.Inputs[2]!.Name} {n.Outputs[0].Name}").Order(StringComparer.Ordinal)];

    private static void AssertSameInputs(string official, string ours)
    {
        using OnnxModel expected = OnnxModelReader.Read(official);
        using OnnxModel actual = OnnxModelReader.Read(ours);
        CollectionAssert.AreEqual(Names(expected.Graph.Inputs), Names(actual.Graph.Inputs));
        foreach ((Value left, Value right) in expected.Graph.Inputs.Zip(actual.Graph.Inputs))
        {
            Assert.AreEqual(left.ElementType, right.ElementType, left.Name);
            Assert.AreEqual(left.Shape?.Rank, right.Shape?.Rank, left.Name);
        }
    }

    private static void AssertSame(IReadOnlyList<CheckpointParameter> expected, IReadOnlyList<CheckpointParameter> actual)
    {
        CollectionAssert.AreEqual(expected.Select(p => p.Name).ToArray(), actual.Select(p => p.Name).ToArray());
        foreach ((CheckpointParameter left, CheckpointParameter right) in expected.Zip(actual))
        {
            CollectionAssert.AreEqual(left.Value!.ToBytes(), right.Value!.ToBytes(), left.Name);
        }
    }

    private static string[] Names(IEnumerable<Value> values) => [.. values.Select(v => v.Name)];

    private static TrainingGraph Build(
        OnnxModel model, OrtTrainingOptions options, string? parameters = null, IOptimizerDefinition? optimizer = null, double maxGradNorm = 0, string loss = "mse") =>
        TrainingGraphBuilder.Build(model, new TrainingGraphOptions
        {
            Method = AdapterRegistry.Default.Get("full"),
            Adapter = new BaseWeightConfig { Parameters = parameters is null ? null : ModuleSelector.OfRegex(parameters) },
            Loss = LossHeads.Get(loss),
            LossOutput = model.Graph.Outputs[0].Name,
            Optimizer = optimizer ?? new AdamWOptimizer(),
            MaxGradNorm = maxGradNorm,
            Dialect = new OrtTrainingDialect(options),
        });

    /// <summary>y = relu(x first.weight + first.bias) second.weight.</summary>
    private static OnnxModel Model(string input = "x")
    {
        OnnxGraph graph = new("mlp");
        GraphBuilder b = new(graph, 21);
        Value x = graph.AddInput(input, DataType.Float, new Shape(Dimension.Of("batch"), 3));
        Value first = graph.AddInitializer("first.weight", DenseTensor.Of([3, 4], [.. Enumerable.Range(0, 12).Select(i => 0.1f * i)]));
        Value bias = graph.AddInitializer("first.bias", DenseTensor.Vector(0.1f, 0.2f, 0.3f, 0.4f));
        Value second = graph.AddInitializer("second.weight", DenseTensor.Of([4, 2], [.. Enumerable.Range(0, 8).Select(i => 0.2f - (0.1f * i))]));
        Value y = b.MatMul(b.Op("Relu", [b.Add(b.MatMul(x, first), bias)]), second);
        y.Name = "y";
        graph.AddOutput(y);
        return new OnnxModel(graph) { Opset = 21 };
    }
}
