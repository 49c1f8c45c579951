using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Graph.Tests.Optimizers;

[TestClass]
public sealed class OptimizerModelBuilderTests
{
    private static readonly ParameterGroup[] OneGroup = [new(ParameterGroup.DefaultName)];

    [TestMethod]
    public void Build_AnyNumberOfParameters_HasTheSameNodes()
    {
        int few = OptimizerModelBuilder.Build(new AdamWOptimizer(), Parameters(2), OneGroup, 1).Graph.NodeCount;
        int many = OptimizerModelBuilder.Build(new AdamWOptimizer(), Parameters(200), OneGroup, 1).Graph.NodeCount;

        Assert.AreEqual(few, many);
        Assert.IsLessThanOrEqualTo(40, many);
    }

    [TestMethod]
    public void Build_AdamW_HasTheContractsInputsAndOutputs()
    {
        OnnxModel model = OptimizerModelBuilder.Build(new AdamWOptimizer(), Parameters(3), OneGroup);

        CollectionAssert.AreEquivalent(
            new[] { "learning_rate", "step", "params.group0", "gradients.group0", "exp_avg.group0", "exp_avg_sq.group0" },
            model.Graph.Inputs.Select(i => i.Name).ToArray());
        CollectionAssert.AreEquivalent(
            new[] { "grad_norm", "params.group0.out", "exp_avg.group0.out", "exp_avg_sq.group0.out" },
            model.Graph.Outputs.Select(o => o.Name).ToArray());
    }

    [TestMethod]
    [DataRow("AdamW", "SquaredNorm")]
    [DataRow("SquaredNorm")]
    [DataRow("AdamW")]
    public void Build_NativeOperatorsThere_UsesThose(params string[] there)
    {
        OnnxModel model = OptimizerModelBuilder.Build(new AdamWOptimizer(), Parameters(3), OneGroup, 1, there.Contains);

        GraphVerifier.Verify(model);
        CollectionAssert.AreEquivalent(there, model.Graph.Nodes.Where(n => n.Domain == "ortqlora").Select(n => n.OpType).ToArray());
        Assert.AreEqual(there.Contains("AdamW"), !model.Graph.Nodes.Any(n => n.OpType == "Pow"));
        Assert.AreEqual(there.Contains("SquaredNorm"), !model.Graph.Nodes.Any(n => n.OpType == "ReduceSumSquare"));
        Assert.AreEqual(1, model.OpsetImports["ortqlora"]);
    }

    [TestMethod]
    public void Build_OptimizerWithoutNativeForm_StaysPortable()
    {
        OnnxModel model = OptimizerModelBuilder.Build(new SgdOptimizer(), Parameters(3), OneGroup, 1, name => name == "AdamW");

        Assert.IsFalse(model.Graph.Nodes.Any(n => n.Domain.Length > 0));
    }

    [TestMethod]
    public void Build_GroupWithoutParameters_HasNoInputs()
    {
        OnnxModel model = OptimizerModelBuilder.Build(new SgdOptimizer(), Parameters(1), [.. OneGroup, new ParameterGroup("empty")]);

        Assert.IsFalse(model.Graph.Inputs.Any(i => i.Name.Contains("empty", StringComparison.Ordinal)));
    }

    [TestMethod]
    public void Build_ParameterOfUnknownGroup_NamesBoth()
    {
        TrainableParameter stray = new() { Name = "w", Group = "nowhere", InitialValue = DenseTensor.Vector(1f) };

        ConfigurationException e = Assert.ThrowsExactly<ConfigurationException>(() => OptimizerModelBuilder.Build(new AdamWOptimizer(), [stray], OneGroup));

        StringAssert.Contains(e.Message, "'w'");
        StringAssert.Contains(e.Message, "'nowhere'");
    }

    [TestMethod]
    public void Build_NothingTrainable_SaysSo() =>
        Assert.ThrowsExactly<ConfigurationException>(() => OptimizerModelBuilder.Build(new AdamWOptimizer(), [], OneGroup));

    [TestMethod]
    [DataRow(-1.0)]
    [DataRow(double.NaN)]
    [DataRow(double.PositiveInfinity)]
    public void Build_WrongNorm_IsRefused(double norm) =>
        Assert.ThrowsExactly<ConfigurationException>(() => OptimizerModelBuilder.Build(new AdamWOptimizer(), Parameters(1), OneGroup, norm));

    [TestMethod]
    public void Create_SeveralFaults_ListsAll()
    {
        OptimizerSettings settings = new() { Name = "lion", Beta1 = 1, Eps = double.NaN, Momentum = -1 };

        ConfigurationException e = Assert.ThrowsExactly<ConfigurationException>(() => OptimizerRegistry.Create(settings));

        Assert.HasCount(4, e.Faults);
    }

    [TestMethod]
    public void Create_EveryRegisteredName_GivesThatOptimizer()
    {
        foreach (string name in OptimizerRegistry.Names)
        {
            Assert.AreEqual(name, OptimizerRegistry.Create(new OptimizerSettings { Name = name }).Name);
        }
    }

    [TestMethod]
    public void Build_AdamW8Bit_KeepsBytesAndAScaleARow()
    {
        AdamW8BitOptimizer optimizer = new(new AdamWOptimizer());
        OnnxModel model = OptimizerModelBuilder.Build(optimizer, Parameters(3), OneGroup, 1);

        GraphVerifier.Verify(model);
        CollectionAssert.AreEquivalent(
            new[]
            {
                "learning_rate float[]", "step int64[]", "params.group0 float[384]", "gradients.group0 float[384]", "exp_avg_8bit.group0 int8[3, 128]",
                "exp_avg_scale.group0 float[3, 1]", "exp_avg_sq_8bit.group0 uint8[3, 128]", "exp_avg_sq_scale.group0 float[3, 1]",
            },
            model.Graph.Inputs.Select(i => $"{i.Name} {i.ElementType.OnnxName()}{i.Shape}").ToArray());
        ArenaGroup group = ArenaLayout.Create(Parameters(3), OneGroup, optimizer.States).Groups.Single();
        Assert.IsTrue(group.Slots.All(s => s.Offset % AdamW8BitOptimizer.BlockSize == 0), "No two parameters share a row.");
    }

    [TestMethod]
    public void Build_CompressedStates_CutsGroupsAtAMillionParameters()
    {
        const int Hidden = 128;
        const int Vocabulary = 8200;
        using OnnxModel model = LlamaModelBuilder.Build(new LlamaModelOptions
        {
            HiddenSize = Hidden,
            IntermediateSize = 256,
            LayerCount = 2,
            HeadCount = 4,
            VocabularySize = Vocabulary,
        });
        TrainingGraph Make(IOptimizerDefinition optimizer) => TrainingGraphBuilder.Build(model, new TrainingGraphOptions
        {
            Method = new FullMethod(),
            Adapter = new BaseWeightConfig(),
            Loss = CrossEntropyLoss.CausalLanguageModeling,
            LossOutput = "logits",
            Optimizer = optimizer,
        });
        using TrainingGraph exact = Make(new AdamWOptimizer());
        using TrainingGraph compressed = Make(new AdamW8BitOptimizer(new AdamWOptimizer()));

        Assert.HasCount(1, exact.Artifacts.Groups);
        ILookup<string, TrainableParameter> groups = compressed.Artifacts.Parameters.ToLookup(p => p.Group);
        CollectionAssert.AreEquivalent(compressed.Artifacts.Groups.Select(g => g.Name).ToArray(), groups.Select(g => g.Key).ToArray());
        Assert.IsGreaterThan(1, groups.Count);
        Assert.IsTrue(groups.All(g => g.Count() == 1 || g.Sum(p => p.ElementCount) <= 1 << 20));
    }

    [TestMethod]
    public void Create_Layout_AlignsEveryParameter()
    {
        ArenaGroup group = ArenaLayout.Create(Parameters(5), OneGroup).Groups.Single();

        Assert.IsTrue(group.Slots.All(s => s.Offset % TrainingArtifacts.ArenaAlignment == 0));
        Assert.AreEqual(5 * 16, group.Length);
    }

    private static TrainableParameter[] Parameters(int count) =>
        [.. Enumerable.Range(0, count).Select(i => new TrainableParameter { Name = $"p{i}", InitialValue = DenseTensor.Vector(1f, 2f, 3f) })];
}
