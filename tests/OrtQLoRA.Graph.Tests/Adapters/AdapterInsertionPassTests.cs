using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Adapters;

[TestClass]
public sealed class AdapterInsertionPassTests
{
    [TestMethod]
    public void Run_DefaultStart_LeavesTheFunctionAndTheNamesAsTheyAre()
    {
        using OnnxModel model = SmallDecoder.Build();
        ITensor before = OrtRunner.Run(model, SmallDecoder.Feeds())["logits"];

        InsertedAdapter inserted = Insert(model, Config("fc", "lm_head", "embed_tokens"));

        CollectionAssert.AreEqual(new[] { "logits" }, model.Graph.Outputs.Select(o => o.Name).ToArray());
        TensorAssert.AreClose(before, Run(model, inserted), 1e-6);
    }

    [TestMethod]
    public void Run_DefaultStart_FillsAAsKaimingAndBWithZeros()
    {
        using OnnxModel model = SmallDecoder.Build();

        InsertedAdapter inserted = Insert(model, Config("fc", "embed_tokens"));

        float[] a = Initial(inserted, "model.fc.lora_A.weight");
        Assert.IsTrue(a.All(v => Math.Abs(v) <= 0.5) && a.Any(v => Math.Abs(v) > 0.25), "U(-1/sqrt(4), 1/sqrt(4))");
        Assert.IsTrue(Initial(inserted, "model.fc.lora_B.weight").All(v => v == 0));
        Assert.IsTrue(Initial(inserted, "model.embed_tokens.lora_embedding_A").All(v => v == 0), "On embeddings the roles are exchanged.");
        Assert.IsTrue(Initial(inserted, "model.embed_tokens.lora_embedding_B").Any(v => Math.Abs(v) > 0.5));
    }

    [TestMethod]
    public void Run_OtherTargetsAndOrder_GiveAModuleTheSameFirstValues()
    {
        using OnnxModel one = SmallDecoder.Build();
        using OnnxModel other = SmallDecoder.Build();

        CollectionAssert.AreEqual(
            Initial(Insert(one, Config("fc")), "model.fc.lora_A.weight"), Initial(Insert(other, Config("embed_tokens", "lm_head", "fc")), "model.fc.lora_A.weight"));
    }

    [TestMethod]
    public void Run_TrainingGraph_DropsInputsOfAOnlyThere()
    {
        LoraConfig config = Config("fc", "embed_tokens");
        config.Dropout = 0.25;
        using OnnxModel training = SmallDecoder.Build();
        using OnnxModel eval = SmallDecoder.Build();

        Insert(training, config, isTraining: true);
        Insert(eval, config);

        // Masks are drawn from the number of the pass, so that no session holds a state that a checkpoint would lack.
        Assert.IsFalse(training.Graph.Nodes.Any(n => n.Is("Dropout")));
        Assert.IsTrue(training.Graph.Inputs.Any(i => i.Name == ArtifactNames.Pass));
        Assert.IsFalse(eval.Graph.Inputs.Any(i => i.Name == ArtifactNames.Pass));
    }

    [TestMethod]
    public void Run_Float16Base_ComputesTheBranchInFloat()
    {
        using OnnxModel model = SmallDecoder.Build(DataType.Float16);
        LoraConfig config = Config("fc", "embed_tokens");
        config.ModulesToSave = ["lm_head"];
        config.Bias = TrainedBiases.Targets;

        InsertedAdapter inserted = Insert(model, config);

        Assert.IsTrue(inserted.Parameters.All(p => p.InitialValue.ElementType == DataType.Float));
        Assert.IsTrue(inserted.Parameters.All(p => model.Graph.GetValue(p.Name) is { IsGraphInput: true, Initializer: null, ElementType: DataType.Float }));
        Assert.AreEqual(DataType.Float16, model.Graph.Outputs[0].ElementType);
        Assert.IsTrue(Run(model, inserted).ToFloats().All(float.IsFinite));
    }

    [TestMethod]
    public void Run_ModuleToSaveWithTiedWeight_GetsACopyOfItsOwn()
    {
        using OnnxModel model = SmallDecoder.Build(isTied: true);
        ITensor before = OrtRunner.Run(model, SmallDecoder.Feeds())["logits"];
        LoraConfig config = Config("fc");
        config.ModulesToSave = ["lm_head"];

        InsertedAdapter inserted = Insert(model, config);

        Assert.IsTrue(model.Graph.GetValue("model.embed_tokens.weight").IsConstant, "The embedding stays frozen.");
        CollectionAssert.Contains(inserted.Parameters.Select(p => p.FileKey).ToArray(), "base_model.model.lm_head.weight");
        TensorAssert.AreClose(before, Run(model, inserted), 1e-6);
    }

    [TestMethod]
    public void Run_QuantizedModuleToSave_IsRefused()
    {
        using OnnxModel model = SmallDecoder.Build();
        new WeightQuantizationPass(new EetqInt8Format(), WeightQuantizationPass.CanQuantize).Run(model);
        LoraConfig config = Config("fc");
        config.ModulesToSave = ["lm_head"];

        StringAssert.Contains(Assert.ThrowsExactly<ConfigurationException>(() => Insert(model, config)).Message, "lm_head");
    }

    [TestMethod]
    public void Run_WeightsThatDoNotFit_ListsEveryMismatch()
    {
        using OnnxModel first = SmallDecoder.Build();
        Dictionary<string, ITensor> tensors = Insert(first, Config("fc", "lm_head")).InitialWeights().Tensors.ToDictionary();
        tensors.Remove("base_model.model.model.fc.lora_A.weight");
        tensors["base_model.model.lm_head.lora_B.weight"] = DenseTensor.Of([9, 4], new float[36]);
        tensors["base_model.model.other.lora_A.weight"] = DenseTensor.Of([1], new float[1]);
        using OnnxModel second = SmallDecoder.Build();

        ConfigurationException error = Assert.ThrowsExactly<ConfigurationException>(() => Insert(second, Config("fc", "lm_head"), weights: new AdapterWeights(null, null, tensors)));

        StringAssert.Contains(error.Message, "'base_model.model.model.fc.lora_A.weight' [2, 4] is missing");
        StringAssert.Contains(error.Message, "'base_model.model.lm_head.lora_B.weight' has shape [9, 4], expected is [9, 2]");
        StringAssert.Contains(error.Message, "'base_model.model.other.lora_A.weight' belongs to no parameter");
    }

    [TestMethod]
    [DataRow("base_model.model.model.", "base_model.model.wrapper.model.")]
    [DataRow("base_model.model.model.", "base_model.model.")]
    [DataRow("base_model.model.model.", "model.")]
    [DataRow(".lora_A.weight", ".lora_A.default.weight")]
    public void Run_WeightsUnderOtherPrefixes_AreRecognised(string part, string replacement)
    {
        using OnnxModel first = SmallDecoder.Build();
        Dictionary<string, ITensor> tensors = Insert(first, Config("fc"), seed: 3).InitialWeights().Tensors
            .ToDictionary(t => t.Key.Replace(part, replacement, StringComparison.Ordinal), t => t.Value);
        using OnnxModel second = SmallDecoder.Build();

        InsertedAdapter inserted = Insert(second, Config("fc"), weights: new AdapterWeights(null, null, tensors));

        CollectionAssert.AreEqual(Initial(Insert(SmallDecoder.Build(), Config("fc"), seed: 3), "model.fc.lora_A.weight"), Initial(inserted, "model.fc.lora_A.weight"));
    }

    [TestMethod]
    public void Run_AllLinear_WritesTheModulesThatItMeant()
    {
        using OnnxModel model = SmallDecoder.Build();

        InsertedAdapter inserted = Insert(model, new LoraConfig { Rank = 2, TargetModules = ModuleSelector.AllLinear });

        Assert.AreEqual("[\"model.fc\"]", inserted.Plan.Config.ToJson()["target_modules"]!.ToJsonString());
    }

    private static LoraConfig Config(params string[] targets) => new() { Rank = 2, Alpha = 4, TargetModules = ModuleSelector.OfNames(targets) };

    private static InsertedAdapter Insert(OnnxModel model, LoraConfig config, bool isTraining = false, int seed = 0, AdapterWeights? weights = null)
    {
        AdapterInsertionPass pass = new(new LoraMethod(), config) { IsTraining = isTraining, Seed = seed, InitialWeights = weights };
        pass.Run(model);
        return pass.Inserted;
    }

    private static float[] Initial(InsertedAdapter adapter, string name) => adapter.Parameters.Single(p => p.Name == name).InitialValue.ToFloats();

    private static ITensor Run(OnnxModel model, InsertedAdapter adapter) =>
        OrtRunner.Run(model, SmallDecoder.Feeds().Concat(adapter.Parameters.Select(p => KeyValuePair.Create(p.Name, p.InitialValue))).ToDictionary())["logits"];
}
